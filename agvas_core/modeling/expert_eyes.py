"""What the bundled model's two eyes hand to Anomaly-OV's expert, and the fingerprint by which they know each other."""

# I images, N = G x G positions, H x W px

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, layer_norm

from agvas_core.config import AGVASConfig
from agvas_core.modeling.agvas import AGVAS
from agvas_core.modeling.anomaly_ov import ExpertConfig, ExpertFeatures

_PIXEL_GRID = 16  # strides of the pixel eye's embedding


def bundled_expert_config(config: AGVASConfig, *, use_pixel: bool = True, match_width: int = 128) -> ExpertConfig:
    """Return the expert's sizes for a bundled model: four levels of its semantic eye, and its pixel eye if wanted.

    Paper differs: a small SigLIP with large patches hardly sees a scratch, so the pixel eye's features join by default.
    """
    s, p = config.semantic, config.pixel
    layers = s.layers
    levels = tuple(sorted({max(1, round(layers * k / 4)) for k in range(1, 5)}))
    widths = (s.width,) * len(levels)
    side = s.image_px // s.patch_px
    if not use_pixel:
        return ExpertConfig(levels=levels, level_widths=widths, width=s.width, grid=side, match_width=match_width)
    if p.kind != "conv":
        raise ValueError("The expert can read the pixel eye of a bundled model only (kind 'conv').")
    return ExpertConfig(
        levels=levels,
        level_widths=(*widths, p.width, p.widths_high_res[1], p.widths_high_res[0]),
        width=s.width + p.width,
        grid=p.image_px // _PIXEL_GRID,
        match_width=match_width,
        pixel_strides=(16, 8, 4),
        pixel_px=p.image_px,
    )


def expert_features(model: AGVAS, config: ExpertConfig, pixel_values: Tensor) -> ExpertFeatures:
    """Return the expert's input from pixel_values (I, 3, H, W) in [0, 1]: each image is its own overview."""
    states = model.lmm.model.vision_tower(model.semantic_input(pixel_values), output_hidden_states=True).hidden_states
    levels = [states[i].float() for i in config.levels]
    final = states[-1].float()  # (I, n, D)
    if not config.pixel_strides:
        return ExpertFeatures(final, tuple(levels))
    size = (config.pixel_px, config.pixel_px)
    if pixel_values.shape[-2:] != size:
        pixel_values = interpolate(pixel_values, size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    pixel = model.pixel_encoder(pixel_values)
    by_stride = {16: pixel.embedding, 4: pixel.high_res[0], 8: pixel.high_res[1]}
    # the eye's strides differ in scale by orders of magnitude; the match compares directions
    seen = {stride: _normalised(feature.float()) for stride, feature in by_stride.items()}
    levels += [seen[stride].flatten(2).transpose(1, 2) for stride in config.pixel_strides]
    side, grid = round(final.shape[1] ** 0.5), config.grid
    semantic = final.transpose(1, 2).unflatten(2, (side, side))
    semantic = interpolate(semantic, (grid, grid), mode="bilinear", align_corners=False)
    joined = torch.cat([_normalised(semantic), adaptive_avg_pool2d(seen[16], grid)], dim=1)  # (I, D, G, G)
    return ExpertFeatures(joined.flatten(2).transpose(1, 2), tuple(levels))


def _normalised(feature: Tensor) -> Tensor:
    """(I, C, h, w) -> the same with each position's channels at mean 0 and variance 1."""
    channels_last = feature.movedim(1, -1)
    return layer_norm(channels_last, channels_last.shape[-1:]).movedim(-1, 1)


def fingerprint(model: AGVAS, config: ExpertConfig) -> str:
    """Return the SHA-256 of the eyes that the expert reads, in fp16, as they are stored."""
    digest = hashlib.sha256()
    parts = [("semantic", model.lmm.model.vision_tower)]
    if config.pixel_strides:
        parts.append(("pixel", model.pixel_encoder))
    for part, module in parts:
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()
