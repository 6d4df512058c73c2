"""Pretrained pixel encoders: frozen vision classes of transformers behind the one contract of PixelFeatures."""

# B images, H x W canvas px, C channels of f_p, g patches a side

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    ConvNextV2Config,
    ConvNextV2Model,
    Dinov2Config,
    Dinov2Model,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    Sam2Model,
    Sam2VisionConfig,
    Sam2VisionModel,
    SamVisionConfig,
    SamVisionModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.utils import logging

from agvas_core.config import PixelConfig
from agvas_core.modeling.pixel_features import STRIDE, PixelFeatures

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class PretrainedPixelEncoder(nn.Module):
    """Normalise, put zeros beyond the image, let the frozen encoder look.

    Its weights are never trained, and it stays in eval mode: DINOv3 moves its positions at random while training.
    """

    encoder: Any
    mean_rgb: Tensor
    std_rgb: Tensor

    def __init__(self, encoder: nn.Module, config: PixelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder.requires_grad_(False).eval()
        mean, std = KINDS[config.kind].mean_std
        self.register_buffer("mean_rgb", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std_rgb", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> PretrainedPixelEncoder:
        """Set the mode; the encoder itself stays in eval mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def normalise(self, pixel_values: Tensor, content_hw: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """Return (B, 3, H, W) by the encoder's mean and std, 0 beyond each image's height and width on the canvas."""
        values = (pixel_values - self.mean_rgb) / self.std_rgb  # (B, 3, H, W)
        for image, (height, width) in zip(values, content_hw or (), strict=content_hw is not None):
            image[:, height:], image[:, :, width:] = 0, 0
        return values.to(next(self.encoder.parameters()).dtype)

    def forward(self, pixel_values: Tensor, content_hw: Sequence[tuple[int, int]] | None = None) -> PixelFeatures:
        """Return the features of pixel_values (B, 3, H, W), RGB in [0, 1].

        content_hw: of each image, its height and width in the upper left corner of the canvas, px; None: it fills it.
        """
        with torch.no_grad():
            return self.look(self.normalise(pixel_values, content_hw))

    def look(self, values: Tensor) -> PixelFeatures:
        """Return the features of normalised values (B, 3, H, W)."""
        raise NotImplementedError


class SamPixelEncoder(PretrainedPixelEncoder):
    """SAM's ViT with its neck (ViT-H in the paper)."""

    def look(self, values: Tensor) -> PixelFeatures:
        """See the base class; H = W = image_px.

        Its tables of relative positions are made where the image is: each layer would wait for two of the host's.
        """
        with values.device:
            return PixelFeatures(self.encoder(values).last_hidden_state)  # (B, C, H / 16, W / 16)


class Sam2PixelEncoder(PretrainedPixelEncoder):
    """SAM 2.1's Hiera with its feature pyramid."""

    def look(self, values: Tensor) -> PixelFeatures:
        """See the base class; H and W multiples of 32."""
        f4, f8, f16 = self.encoder(values).fpn_hidden_states  # (B, C, H / 4, W / 4), ...
        return PixelFeatures(f16, (f4, f8))


class PatchPixelEncoder(PretrainedPixelEncoder):
    """A ViT of any patch: its patch tokens become a grid, which is resampled to stride 16 when the patch is another."""

    def look(self, values: Tensor) -> PixelFeatures:
        """See the base class; H and W multiples of the patch and of 16."""
        height, width = values.shape[-2:]
        patch = self.encoder.config.patch_size
        more = {"interpolate_pos_encoding": True} if self.config.kind in ("clip", "siglip") else {}
        tokens = self.encoder(values, **more).last_hidden_state  # (B, class and registers + g * g, C)
        grid_hw = (height // patch, width // patch)
        cells = tokens[:, tokens.shape[1] - grid_hw[0] * grid_hw[1] :].transpose(1, 2).unflatten(2, grid_hw)
        wanted_hw = (height // STRIDE, width // STRIDE)
        if grid_hw != wanted_hw:
            resampled = interpolate(cells.float(), wanted_hw, mode="bilinear", antialias=True, align_corners=False)
            cells = resampled.to(cells.dtype)
        return PixelFeatures(cells)  # (B, C, H / 16, W / 16)


class ConvNextPixelEncoder(PretrainedPixelEncoder):
    """ConvNeXt V2: its first three stages; the fourth, at stride 32, is not needed."""

    def look(self, values: Tensor) -> PixelFeatures:
        """See the base class; H and W multiples of 32."""
        _, f4, f8, f16, _ = self.encoder(values, output_hidden_states=True).hidden_states
        return PixelFeatures(f16, (f4, f8))


@dataclass(frozen=True)
class Kind:
    """How a kind of pixel encoder is made.

    Attributes:
        wrapper: its class here.
        config_class, model_class: its classes of transformers.
        mean_std: of its training images, RGB in [0, 1].
    """

    wrapper: type[PretrainedPixelEncoder]
    config_class: Any
    model_class: Any
    mean_std: tuple[tuple[float, ...], tuple[float, ...]]


KINDS: dict[str, Kind] = {
    "sam": Kind(SamPixelEncoder, SamVisionConfig, SamVisionModel, _IMAGENET),
    "sam2": Kind(Sam2PixelEncoder, Sam2VisionConfig, Sam2VisionModel, _IMAGENET),
    "dinov2": Kind(PatchPixelEncoder, Dinov2Config, Dinov2Model, _IMAGENET),
    "dinov3": Kind(PatchPixelEncoder, DINOv3ViTConfig, DINOv3ViTModel, _IMAGENET),
    "clip": Kind(PatchPixelEncoder, CLIPVisionConfig, CLIPVisionModel, _CLIP),
    "siglip": Kind(PatchPixelEncoder, SiglipVisionConfig, SiglipVisionModel, _HALF),
    "convnext": Kind(ConvNextPixelEncoder, ConvNextV2Config, ConvNextV2Model, _IMAGENET),
}


def backbone_config(config: PixelConfig) -> Any:
    """Return the transformers config of a pretrained pixel encoder."""
    own: dict[str, Any] = {}
    if config.kind == "sam":
        own = {"image_size": config.image_px, "output_channels": config.width, "num_pos_feats": config.width // 2}
    elif config.kind == "sam2":
        own = {"fpn_hidden_size": config.width}
    elif config.kind == "siglip":
        own = {"vision_use_head": False}
    return KINDS[config.kind].config_class(**own | config.backbone)


def build_pretrained(config: PixelConfig) -> PretrainedPixelEncoder:
    """Make a pretrained kind of pixel encoder, without its weights."""
    kind = KINDS[config.kind]
    return kind.wrapper(kind.model_class(backbone_config(config)), config)


def load_pretrained(config: PixelConfig, name: str, **options: Any) -> PretrainedPixelEncoder:
    """Return a pixel encoder with the weights of a hub name or folder; options as of from_pretrained.

    Raises:
        ValueError: when weights are not there, or the encoder is not as wide as the config says.
    """
    kind = KINDS[config.kind]
    source, prefix = kind.model_class, ""
    if config.kind == "sam2":  # its checkpoints hold the eye as a part of the whole model
        source, prefix = Sam2Model, "vision_encoder."
    if config.kind == "siglip":
        options["vision_use_head"] = False
    shown = logging.get_verbosity()
    logging.set_verbosity_error()  # its report of the parts that we leave out reads like a failure; ours follows
    try:
        model, info = source.from_pretrained(name, output_loading_info=True, **options)
    finally:
        logging.set_verbosity(shown)
    encoder = model.vision_encoder if config.kind == "sam2" else model
    absent = [str(key) for key in info["missing_keys"] if str(key).startswith(prefix)]
    absent += [str(entry[0]) for entry in info["mismatched_keys"]]
    if absent:
        raise ValueError(f"{name} is no {config.kind} encoder; not there: {', '.join(sorted(absent)[:8])}.")
    width = _width(config.kind, encoder.config)
    if width != config.width:
        raise ValueError(f"The pixel encoder {name} is {width} wide, the config wants {config.width}.")
    return kind.wrapper(encoder, config)


def _width(kind: str, config: Any) -> int:
    if kind == "convnext":
        return int(config.hidden_sizes[2])
    return int(getattr(config, {"sam": "output_channels", "sam2": "fpn_hidden_size"}.get(kind, "hidden_size")))
