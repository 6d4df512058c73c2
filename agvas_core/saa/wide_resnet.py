"""Wide ResNet-50-2 up to its third layer: the features of the saliency prompt (Zagoruyko and Komodakis 2016).

Written out because timm, which has it, installs torchvision. Names are those of the hub's state dict.
"""

# B images, H x W px; strides 4, 8, 16 of layers 1, 2, 3 with 256, 512, 1024 channels

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

HUB_NAME = "timm/wide_resnet50_2.tv_in1k"  # BSD-3-Clause, ImageNet-1k
INPUT_PX = 256
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_UNUSED = ("layer4.", "fc.")
_DEPTHS = (3, 4, 6)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 of twice the usual width, 1 x 1, and a shortcut."""

    def __init__(self, channels_in: int, width: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h / stride, w / stride)."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class WideResNet50(nn.Module):
    """Layers 1 to 3; `base` is the width of the stem, 64 in the published network."""

    def __init__(self, base: int = 64) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
        self.pool = nn.MaxPool2d(3, 2, 1)
        channels = base
        for n, depth in enumerate(_DEPTHS, start=1):
            width, out = base * 2**n, base * 4 * 2 ** (n - 1)
            blocks = [
                Bottleneck(channels if i == 0 else out, width, out, 2 if n > 1 and i == 0 else 1) for i in range(depth)
            ]
            self.add_module(f"layer{n}", nn.Sequential(*blocks))
            channels = out

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return layers 1-3 at layer 1's resolution, (B, 1792, H/4, W/4) at the published width, from RGB in [0, 1]."""
        mean, std = (torch.tensor(v, device=pixel_values.device).view(1, 3, 1, 1) for v in (_MEAN, _STD))
        x = self.pool(self.bn1(self.conv1((pixel_values - mean) / std)).relu())
        layers = []
        for n in range(1, len(_DEPTHS) + 1):
            x = self.get_submodule(f"layer{n}")(x)
            layers.append(x)
        size = layers[0].shape[-2:]
        return torch.cat([interpolate(f, size, mode="nearest") for f in layers], dim=1)


def load_wide_resnet(path: str | Path, base: int = 64) -> WideResNet50:
    """Return the network with the weights of a safetensors file; ValueError that names what is missing or foreign."""
    from safetensors.torch import load_file

    state = {name: value for name, value in load_file(path).items() if not name.startswith(_UNUSED)}
    model = WideResNet50(base)
    wanted = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    given = {name for name in state if not name.endswith("num_batches_tracked")}
    if wanted != given:
        wrong = ", ".join(sorted(wanted ^ given)[:3])
        raise ValueError(f"{path} does not hold a Wide ResNet-50-2: missing or foreign are {wrong}.")
    model.load_state_dict(state, strict=False)
    return model.eval()
