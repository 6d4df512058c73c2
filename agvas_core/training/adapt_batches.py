"""What an adapter learns from: labelled and synthetic images as they are served, and talks about them."""

# I images, P tiles, S side of a tile, H x W canvas px

from __future__ import annotations

import random
from dataclasses import dataclass

from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from agvas_core.anchors import find_anchors
from agvas_core.config import AGVASConfig
from agvas_core.data.labelled import LabelledBatch, LabelledImages
from agvas_core.modeling.agvas import TokenIds
from agvas_core.modeling.anyres import cut, tile_tokens
from agvas_core.prompts import Exchange
from agvas_core.synthesis.facts import SyntheticBatch
from agvas_core.synthesis.generator import SceneGenerator
from agvas_core.synthesis.textures import TextureBank
from agvas_core.synthesis.words import make_exchange, talk
from agvas_core.training.adapt_options import AdaptOptions
from agvas_core.training.joint import JointBatch, JointMaker
from agvas_core.training.sources import SEED_STRIDE

# What labelled images are talked about: only what their masks and folders' names tell.
FIRST_KINDS = {"direct": 35, "describe": 25, "describe_plus": 10, "explain": 30}
MORE_KINDS = ("any", "what", "where", "count")
MORE_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class AdaptBatch(JointBatch):
    """One step of the adapt stage.

    Attributes:
        content_hw: of each image, its height and width in the upper left corner of its canvas, px; None: they fill it.
        tiles: (I, 1 + P, 3, S, S), the images in tiles (modeling.anyres), or None without anyres.
        sizes_hw: of images in tiles, their own heights and widths, px.
    """

    content_hw: tuple[tuple[int, int], ...] | None = None
    tiles: Tensor | None = None
    sizes_hw: tuple[tuple[int, int], ...] = ()


class MixedSource:
    """Batches of labelled images and of synthetic ones, each step's always the same.

    Labelled images are brought to the canvas as they are when served: to the pixel encoder's own one where it has one.
    """

    def __init__(self, options: AdaptOptions, config: AGVASConfig | None = None) -> None:
        self.seed, self.data_share = options.seed, options.data_share
        self.size = self.labelled_size = options.size_px
        pretrained = config is not None and config.pixel.kind != "conv"
        if config is not None and pretrained:
            self.labelled_size = config.pixel.image_px
        self.labelled: LabelledImages | None = None
        if options.data:
            tiled = config is not None and bool(config.anyres)
            self.labelled = LabelledImages(options.data, bilinear=pretrained, keep_photos=tiled)
        textures = TextureBank(options.textures) if options.textures else None
        self.generator = SceneGenerator(size=options.size_px, textures=textures)

    def batch(self, step: int, count: int) -> SyntheticBatch:
        """Return the batch of a step."""
        seed = self.seed * SEED_STRIDE + step
        if self.labelled is not None and random.Random(seed).random() < self.data_share:
            return self.labelled.batch(count, self.labelled_size, seed)
        return self.generator.batch(count, seed)


class AdaptMaker(JointMaker):
    """Turns images into talks that ask for a mask at least once a batch, so that every part always learns."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: AGVASConfig, token_ids: TokenIds) -> None:
        super().__init__(tokenizer, config, token_ids)
        self.blind = token_ids.region < 0  # a hub base's tokenizer knows no measured lines

    def __call__(self, batch: SyntheticBatch, draw: random.Random) -> AdaptBatch:
        """Return the training batch of a batch of images."""
        values = vars(super().__call__(batch, draw))
        photos = tuple(batch.images.permute(0, 2, 3, 1).contiguous().numpy())
        if isinstance(batch, LabelledBatch):
            photos = batch.photos
            if self.config.pixel.kind != "conv":
                values |= {"content_hw": batch.content_hw}
        if self.config.anyres:
            values |= self._tiled(values, photos)
        return AdaptBatch(**values)

    def _tiled(self, values: dict, photos: tuple[NDArray, ...]) -> dict:
        """Return a batch's fields that change where its images, uint8 (H, W, 3) each, are seen in tiles."""
        cuts = cut(self.config, photos)
        rows = []
        for ids, mask, targets, size_hw in zip(
            values["input_ids"], values["attention_mask"], values["targets"], cuts.sizes_hw, strict=True
        ):
            kept = mask.bool()
            row, said = ids[kept].tolist(), targets[kept].tolist()
            at, more = row.index(self.token_ids.image), tile_tokens(self.config, size_hw)
            row[at:at], said[at:at] = [self.token_ids.image] * more, [-100] * more
            rows.append((row, said))
        ids, mask, targets = self.pad(rows)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "targets": targets,
            "anchors": find_anchors(ids, self.token_ids.anchors),
            "tiles": cuts.values,
            "sizes_hw": cuts.sizes_hw,
        }

    def exchanges(self, batch: SyntheticBatch, b: int, draw: random.Random) -> list[Exchange]:
        """Return the talk about image b."""
        scene = batch.facts[b]
        if not isinstance(batch, LabelledBatch):
            exchanges = talk(scene, draw)
            if b > 0:
                return exchanges
            # the batch's mask is asked for first: of a talk that is too long, the last exchanges are left out
            asks = next((i for i, e in enumerate(exchanges) if e.target is not None), None)
            first = make_exchange("direct", scene, draw) if asks is None else exchanges.pop(asks)
            return [first, *exchanges]
        kinds = draw.choices(list(FIRST_KINDS), list(FIRST_KINDS.values()))
        kinds += [draw.choice(MORE_KINDS)] if draw.random() < MORE_SHARE else []
        return [make_exchange(kind, scene, draw) for kind in kinds]
