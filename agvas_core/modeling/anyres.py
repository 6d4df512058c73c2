"""Anyres: an image in tiles at its own resolution beside the base crop, as LLaVA-OneVision reads it."""

# I images, P tiles of the image that has most, N_i tokens of image i, S side of a tile, D width of the LLM

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from agvas_core.config import AGVASConfig

SIGLIP_MEAN, SIGLIP_STD = 0.5, 0.5


@dataclass(frozen=True, eq=False)
class TiledImages:
    """Images as transformers' processor cuts them.

    Attributes:
        values: (I, 1 + P, 3, S, S), normalised: the base crop (the whole image, squeezed to a square), then the tiles
            row by row; black where an image has fewer.
        sizes_hw: height and width of each image, px.
    """

    values: Tensor
    sizes_hw: tuple[tuple[int, int], ...]


def cut(config: AGVASConfig, images: Sequence[NDArray[np.uint8]], device: torch.device | str = "cpu") -> TiledImages:
    """Return images, each uint8 (H, W, 3) at its own resolution, in tiles on a device, where they go as bytes.

    They are normalised there as SigLIP wants it, whatever a base's preprocessor_config.json may say.
    """
    side = config.semantic.image_px
    processor = LlavaOnevisionImageProcessorPil(
        size={"height": side, "width": side},
        image_grid_pinpoints=_pinpoints(config),
        do_rescale=False,
        do_normalize=False,
    )
    cuts = processor(list(images), input_data_format="channels_last", return_tensors="pt")
    values = _levels().to(device)[cuts["pixel_values"].to(device).int()]  # (I, 1 + P, 3, S, S)
    return TiledImages(values, tuple((int(h), int(w)) for h, w in cuts["image_sizes"].tolist()))


def _levels() -> Tensor:
    """Return (256,) what transformers' processor makes of each byte: scaled in double precision, then normalised."""
    return ((torch.arange(256, dtype=torch.float64) * (1 / 255)).float() - SIGLIP_MEAN) / SIGLIP_STD


def encode_tiles(lmm: LlavaOnevisionForConditionalGeneration, images: TiledImages) -> list[Tensor]:
    """Return of each image f_s (N_i, D): the base crop's tokens, then the tiles' in rows, each with a line break."""
    sizes = torch.tensor(images.sizes_hw)  # (I, 2)
    return list(lmm.get_image_features(pixel_values=images.values, image_sizes=sizes).pooler_output)


def tile_tokens(config: AGVASConfig, size_hw: tuple[int, int]) -> int:
    """Return how many tokens an image has in the LLM's input beside config.image_tokens; 0 without anyres."""
    if not config.anyres:
        return 0
    side = config.semantic.image_px // config.semantic.patch_px
    grid = select_best_resolution(size_hw, _pinpoints(config))
    grid_h, grid_w = (n // config.semantic.image_px * side for n in grid)
    height, width = size_hw
    if width / height > grid_w / grid_h:  # what pads the image to the grid is left out
        grid_h -= (grid_h - int(round(height * (grid_w / width), 7))) // 2 * 2
    else:
        grid_w -= (grid_w - int(round(width * (grid_h / height), 7))) // 2 * 2
    shrink = math.sqrt(grid_h * grid_w / (config.anyres_max * side**2))
    if shrink > 1.1:  # as the model has it
        grid_h, grid_w = int(grid_h // shrink), int(grid_w // shrink)
    return grid_h * (grid_w + 1)


def most_tile_tokens(config: AGVASConfig) -> int:
    """Return tile_tokens of the images that fill a grid, at their most."""
    return max((tile_tokens(config, grid) for grid in config.anyres), default=0)


def _pinpoints(config: AGVASConfig) -> list[list[int]]:
    return [list(grid) for grid in config.anyres]
