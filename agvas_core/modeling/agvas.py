"""AG-VAS: anchors' states of an LMM, that reads f_s, f_align and words, become masks (paper Fig. 3, Eq. 1-8)."""

# B sequences, L tokens, I images, A anchor triples, N semantic tokens, D width of the LLM, R regions

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import DynamicCache

from agvas_core.anchors import gather_anchor_states
from agvas_core.config import AGVASConfig
from agvas_core.modeling.agmd import AGMD, MaskLogits
from agvas_core.modeling.anyres import TiledImages, encode_tiles
from agvas_core.modeling.beside import Beside
from agvas_core.modeling.lmm import CACHE_NAME, LMM, build_lmm, encode_semantic, normalise_semantic
from agvas_core.modeling.pixel_encoder import build_pixel_encoder
from agvas_core.modeling.pixel_features import PixelFeatures
from agvas_core.modeling.region_reader import RegionReader
from agvas_core.modeling.spam import SPAM
from agvas_core.modeling.token_refiner import TokenRefiner


@dataclass(frozen=True)
class TokenIds:
    """The ids that the model treats apart: image and region placeholders, and the anchors NOR, ANO, SEG.

    region is -1 where the tokenizer has no such placeholder.
    """

    image: int
    region: int
    anchors: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """What both eyes saw of I images.

    Attributes:
        visual: f_s, then f_align when SPAM is used, (I, image_tokens, D): what replaces the image placeholders (Eq. 3).
            Of images in tiles, who differ in their number of tokens, (1, T, D): all one after the other.
        pixel: features of the pixel encoder.
        tokens: of images in tiles, how many of the T each has; else empty.
    """

    visual: Tensor
    pixel: PixelFeatures
    tokens: tuple[int, ...] = ()

    def alone(self, image: int) -> ImageFeatures:
        """Return one image's features, batch 1, in memory of their own."""
        index = torch.tensor([image], device=self.pixel.embedding.device)
        if self.tokens:
            own = self.visual.split(self.tokens, dim=1)[image]
            return ImageFeatures(own.clone(), self.pixel.select(index), (self.tokens[image],))
        return ImageFeatures(self.visual[image : image + 1].clone(), self.pixel.select(index))


class AGVAS(nn.Module):
    """The whole model; every part is one box of the paper's figure.

    lmm, pixel_encoder: ready ones of the config's sizes (backbones.load_backbones); by default they are made here.
    Parts may differ in dtype and device: what passes from one to the next is brought to the receiver's.
    """

    def __init__(
        self,
        config: AGVASConfig,
        token_ids: TokenIds,
        *,
        lmm: LMM | None = None,
        pixel_encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config, self.token_ids = config, token_ids
        d, dec, pix = config.llm.width, config.decoder, config.pixel
        self.lmm = build_lmm(config, image_token_id=token_ids.image) if lmm is None else lmm
        self.pixel_encoder = build_pixel_encoder(pix) if pixel_encoder is None else pixel_encoder
        self.beside = Beside()  # for the pixel eye, while the semantic one looks
        self.spam = SPAM(width=d, pixel_width=pix.width, heads=dec.heads) if dec.use_spam else None
        self.token_refiner = TokenRefiner(width=d, out_width=dec.width)
        self.agmd = AGMD(dec, pixel_width=pix.width, high_res_widths=pix.widths_high_res)
        self.region_reader: RegionReader | None = None
        if dec.use_region_tokens:
            self.region_reader = RegionReader(
                pixel_width=pix.width,
                high_res_widths=pix.widths_high_res,
                width=dec.width,
                kinds=len(dec.region_kinds),
                lens=dec.region_lens,
                loupe=dec.region_loupe,
            )
            self.region_proj = nn.Linear(dec.width, d)

    def semantic_input(self, pixel_values: Tensor) -> Tensor:
        """Return the semantic eye's normalised input (I, 3, S, S) from the pixel eye's (I, 3, H, W) in [0, 1]."""
        side = self.config.semantic.image_px
        resized = interpolate(pixel_values, (side, side), mode="bilinear", antialias=True, align_corners=False)
        return normalise_semantic(resized.clamp(0, 1), self.config.family)

    def encode_semantic(self, semantic_values: Tensor) -> Tensor:
        """Return f_s (I, N, D) from semantic_input's values (I, 3, S, S): the vision tower, then the projector."""
        return encode_semantic(self.lmm, _for(self.lmm.model.vision_tower, semantic_values))

    def encode_image(
        self,
        semantic_values: Tensor | TiledImages,
        pixel_values: Tensor,
        content_hw: Sequence[tuple[int, int]] | None = None,
    ) -> ImageFeatures:
        """Return both eyes' features of semantic_input's values (I, 3, S, S) and of (I, 3, H, W) in [0, 1].

        With config.anyres, the semantic eye's values are the images in tiles (anyres.cut).
        content_hw: of each image, its height and width on the pixel eye's canvas, px; None when it fills the canvas.
        """
        look = self.beside.begin(
            lambda: self.pixel_encoder(pixel_values, content_hw), pixel_values, lambda seen: seen.tensors
        )
        if isinstance(semantic_values, TiledImages):
            return self._align_tiles(semantic_values, look)
        f_s = self.encode_semantic(semantic_values)
        return self.align(f_s, look())

    def align(self, f_s: Tensor, pixel: PixelFeatures) -> ImageFeatures:
        """Join f_s (I, N, D) with f_align (Eq. 2)."""
        if self.spam is None:
            return ImageFeatures(f_s, pixel)
        f_align = self.spam(_for(self.spam, f_s), _for(self.spam, pixel.embedding))
        return ImageFeatures(torch.cat([f_s, f_align.to(f_s)], dim=1), pixel)

    def _align_tiles(self, images: TiledImages, look: Callable[[], PixelFeatures]) -> ImageFeatures:
        """Join each image's f_s (N_i, D) with f_align; look gives what the pixel eye has seen meanwhile.

        Paper leaves open: tiles. f_align is made of the base crop's tokens alone: as f_p, they see all of the image.
        """
        values = _for(self.lmm.model.vision_tower, images.values)
        f_s = encode_tiles(self.lmm, replace(images, values=values))  # I times (N_i, D)
        base = torch.stack([one[: self.config.semantic.tokens] for one in f_s])  # (I, N, D)
        pixel = look()
        f_align = self.align(base, pixel).visual[:, self.config.semantic.tokens :]  # (I, N or 0, D)
        joined = [torch.cat(pair) for pair in zip(f_s, f_align, strict=True)]
        return ImageFeatures(torch.cat(joined)[None], pixel, tuple(map(len, joined)))

    def region_tokens(self, features: PixelFeatures, masks: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return region tokens (R, D) and kind logits (R, K) from masks (R, H, W) and features of batch R or 1."""
        assert self.region_reader is not None, "the config has no region tokens"
        tokens, kind_logits = self.region_reader(features, masks)
        return self.region_proj(tokens), kind_logits

    def embed(
        self,
        input_ids: Tensor,
        visual: Tensor | None = None,
        regions: Tensor | None = None,
        *,
        device: torch.device | None = None,
    ) -> Tensor:
        """Return the LLM's input (B, L, D): words, with placeholders replaced in reading order.

        ImageFeatures' visual (I, image_tokens, D) or (1, T, D) fills the image placeholders, regions (R, D) the others.
        device: the model's, when input_ids lie on the host: their placeholders are counted there, and nothing waits
            for the device.
        """
        there = input_ids if device is None else input_ids.to(device, non_blocking=True)
        embeds = self.lmm.get_input_embeddings()(there)  # (B, L, D)
        for token_id, values in ((self.token_ids.image, visual), (self.token_ids.region, regions)):
            place = input_ids == token_id  # (B, L)
            wanted, given = int(place.sum()), 0 if values is None else values[..., 0].numel()
            if wanted != given:
                raise ValueError(f"The text has {wanted} placeholders of token {token_id}, but {given} features came.")
            if values is not None and wanted:
                place = place.to(embeds.device, non_blocking=True)
                embeds = embeds.masked_scatter(place[..., None], values.to(embeds))
        return embeds

    def language(
        self,
        embeds: Tensor,
        attention_mask: Tensor | None = None,
        cache: DynamicCache | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Return the LLM's last hidden states (B, L, D), after its final norm; a cache is read and extended.

        positions (B, L): the tokens' places in their sequences; by default they follow the cache.
        """
        out = self.lmm.model.language_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=positions,
            use_cache=cache is not None,
            **{CACHE_NAME: cache},
        )
        return out.last_hidden_state

    def word_logits(self, hidden: Tensor) -> Tensor:
        """Return (..., vocab) from hidden states (..., D)."""
        return self.lmm.lm_head(hidden)

    def decode_masks(self, anchor_states: Tensor, pixel: PixelFeatures) -> MaskLogits:
        """Return logits (A, H / 2, W / 2) from the anchors' states (A, 3, D) and features of batch A (Eq. 4-7).

        Paper leaves open: before which norm the last layer's states are taken; here, after the LLM's final one.
        """
        h_anchors = self.token_refiner(_for(self.token_refiner, anchor_states))  # (A, 3, C)
        pixel = PixelFeatures(_for(self.agmd, pixel.embedding), tuple(_for(self.agmd, f) for f in pixel.high_res))
        return self.agmd(h_anchors, pixel)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        features: ImageFeatures,
        anchor_positions: Tensor,
        image_index: Tensor,
        regions: Tensor | None = None,
    ) -> tuple[Tensor, MaskLogits]:
        """Return hidden states (B, L, D) and the masks of A anchor triples, in one pass.

        anchor_positions: find_anchors' rows (A, 4); image_index: which image each triple is about (A,).
        """
        hidden = self.language(self.embed(input_ids, features.visual, regions), attention_mask)
        states = gather_anchor_states(hidden, anchor_positions)
        return hidden, self.decode_masks(states, features.pixel.select(image_index))


def _for(part: nn.Module, values: Tensor) -> Tensor:
    """Return values on the device and in the type of a part's weights; weights kept elsewhere move by themselves."""
    weight = next(p for p in part.parameters() if p.is_floating_point())
    if torch.is_autocast_enabled(values.device.type):
        return values  # autocast casts; more precise values are kept
    return values.to(weight.dtype) if weight.is_meta else values.to(weight.device, weight.dtype)


def build_agvas(config: AGVASConfig, token_ids: TokenIds) -> AGVAS:
    """Make the model with random weights."""
    return AGVAS(config, token_ids)
