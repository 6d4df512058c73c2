"""AGVASConfig: every size of the model in one frozen value, and the presets from nano to the paper's 7B and 13B."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SemanticConfig:
    """The semantic eye: SigLIP ViT of LLaVA-OneVision, CLIP ViT of LLaVA. Sizes in px, layers and widths in counts."""

    image_px: int = 384
    patch_px: int = 14
    width: int = 1152
    mlp_width: int = 4304
    layers: int = 26
    heads: int = 16

    @property
    def tokens(self) -> int:
        """Visual tokens of one base crop."""
        return (self.image_px // self.patch_px) ** 2


@dataclass(frozen=True)
class LLMConfig:
    """The language model: Qwen2 of LLaVA-OneVision, Llama (Vicuna) of LLaVA."""

    vocab_size: int = 152_128
    width: int = 3584
    mlp_width: int = 18_944
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    max_positions: int = 32_768
    tie_embeddings: bool = False
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6


@dataclass(frozen=True)
class PixelConfig:
    """The pixel eye. kind "conv" is the bundled residual network; others name a vision class of transformers.

    Attributes:
        kind: "conv", "sam", "sam2", "dinov2", "dinov3", "clip", "siglip" or "convnext".
        image_px: side of the square canvas; conv is served at any multiple of 32.
        width: channels of the stride-16 embedding f_p.
        widths_high_res: channels of the features at strides 4 and 8, or (0, 0) when there are none.
        blocks: residual blocks at strides 4, 8, 16 ("conv" only).
        attention_layers: transformer layers over the stride-16 cells ("conv" only).
        attention_convs: a 3 x 3 convolution follows each of them ("conv" only).
        heads: their attention heads ("conv" only).
        backbone: what the transformers config of the kind is made from, by its own names ({} takes its defaults).
    """

    kind: str = "sam"
    image_px: int = 1024
    width: int = 256
    widths_high_res: tuple[int, int] = (0, 0)
    blocks: tuple[int, int, int] = (0, 0, 0)
    attention_layers: int = 0
    attention_convs: bool = False
    heads: int = 0
    backbone: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DecoderConfig:
    """SPAM, Token Refiner and AGMD.

    Attributes:
        width: channels of the anchors h and of f_p in the AGMD (SAM's 256).
        blocks: L of paper Eq. 5, bidirectional attention blocks.
        heads: attention heads of the blocks and of SPAM.
        mlp_width: hidden width of the blocks' feed-forward part.
        mask_width: channels of the upscaled pixel features that the tokens are multiplied with.
        use_seg: the absolute anchor's branch exists (Table 3, "w/o [SEG]").
        use_relative: the relative anchors' branch exists (Table 3, "w/o [NOR][ANO]").
        use_spam: f_align is fed to the LLM (Table 3, "w/o SPAM").
        use_region_tokens: Paper differs: after a mask is known, the LLM reads one token per region, pooled from f_p.
        region_lens: that token is also made of a finer close-up of its region.
        region_loupe: and of the region's own pixels ("conv" pixel encoders only).
        measured_kinds: what the LLM reads about a mask says each region's kind, as the region reader sees it.
        region_kinds: the names of defects that the region reader tells apart ("" names come from training).
    """

    width: int = 256
    blocks: int = 2
    heads: int = 8
    mlp_width: int = 2048
    mask_width: int = 32
    use_seg: bool = True
    use_relative: bool = True
    use_spam: bool = True
    use_region_tokens: bool = False
    region_lens: bool = False
    region_loupe: bool = False
    measured_kinds: bool = False
    region_kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class AGVASConfig:
    """All of AG-VAS.

    Attributes:
        preset: name of the preset that it began as.
        family: "onevision" (SigLIP, Qwen2) or "llava" (CLIP without its last layer and class token, Llama).
        base: hub name of the LMM that the weights start from, or "" when trained from scratch.
        pixel_base: hub name of the pixel encoder that the weights start from, or "".
        serving_px: long side to which images are brought for the pixel encoder when serving.
        base_revision: branch, tag or commit of `base` on the hub; "" takes what its main branch holds.
        pixel_revision: the same of `pixel_base`.
        anyres: height and width in px of the grids of tiles among which an image's is chosen, so that the LMM sees it
            at its own resolution ("onevision" only); () for the base crop alone.
        anyres_max: an image's tiles are shrunk to the tokens of about so many.
        serving_also: when serving, the image is seen again at these shares of its first size, and at every size turned
            each way; the maps become one ("conv" only; () for one look).
        serving_peak: parts of the map above one half that nowhere reach this are taken down to one half; 0.5 for none.
        serving_outline: how closely a map's outlines follow the image, see outlines.py; 0 for not at all.
    """

    preset: str
    family: str = "onevision"
    base: str = ""
    pixel_base: str = ""
    base_revision: str = ""
    pixel_revision: str = ""
    anyres: tuple[tuple[int, int], ...] = ()
    anyres_max: int = 9
    serving_px: int = 1024
    serving_also: tuple[float, ...] = ()
    serving_peak: float = 0.5
    serving_outline: float = 0.0
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    llm: LLMConfig = field(default_factory=LLMConfig)
    pixel: PixelConfig = field(default_factory=PixelConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        if not (self.decoder.use_seg or self.decoder.use_relative):
            raise ValueError("At least one of [SEG] and [NOR][ANO] must be used: without both there is no mask.")

    @property
    def image_tokens(self) -> int:
        """Placeholders of one image in the LLM's input, without its tiles: f_s, then f_align with SPAM (Eq. 3)."""
        return self.semantic.tokens * (2 if self.decoder.use_spam else 1)

    @property
    def region_tokens(self) -> int:
        """Tokens of one region placeholder: none when the model has no region reader."""
        return int(self.decoder.use_region_tokens)

    def save(self, path: Path) -> None:
        """Write the config as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> AGVASConfig:
        """Read a config written by save; ValueError on unknown fields."""
        try:
            raw = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is damaged: it is not JSON ({error}).") from error
        for retired in ("sam_width", "sam_global_layers"):  # of 0.1, where only SAM read them; backbone replaced them
            raw.get("pixel", {}).pop(retired, None)
        if "serving_also_px" in raw:  # of 0.1, in px, which told nothing about images smaller than the canvas
            raw["serving_also"] = [px / raw["serving_px"] for px in raw.pop("serving_also_px")]
        parts = {"semantic": SemanticConfig, "llm": LLMConfig, "pixel": PixelConfig, "decoder": DecoderConfig}
        raw["anyres"] = tuple(tuple(hw) for hw in raw.get("anyres", ()))
        built = {name: _from_dict(kind, raw.pop(name, {}), path) for name, kind in parts.items()}
        return _from_dict(cls, {**raw, **built}, path)


def _from_dict(cls: Any, values: dict[str, Any], path: Path) -> Any:
    unknown = set(values) - {f.name for f in fields(cls)}
    if unknown:
        raise ValueError(f"{path} has fields that {cls.__name__} does not know: {', '.join(sorted(unknown))}.")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise ValueError(f"{path} lacks a field of {cls.__name__}: {error}.") from error


def _vit(kind: str, image_px: int, width: int, layers: int, heads: int, **backbone: Any) -> PixelConfig:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return PixelConfig(kind, image_px, width, backbone=sizes | backbone)


def _sam(hidden: int, layers: int, heads: int, global_layers: list[int]) -> PixelConfig:
    return replace(_vit("sam", 1024, hidden, layers, heads, global_attn_indexes=global_layers), width=256)


def _sam2(hidden: int, heads: int, blocks: list[int], global_blocks: list[int], **more: Any) -> PixelConfig:
    widths = [hidden * 2**stage for stage in range(4)]
    hiera = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [heads * 2**stage for stage in range(4)],
        "blocks_per_stage": blocks,
        "global_attention_blocks": global_blocks,
    }
    backbone = {"backbone_config": hiera | more, "backbone_channel_list": widths[::-1]}
    return PixelConfig("sam2", 1024, 256, (256, 256), backbone=backbone)


def _dinov3(width: int, layers: int, heads: int, mlp: int, **more: Any) -> PixelConfig:
    return _vit("dinov3", 1024, width, layers, heads, intermediate_size=mlp, num_register_tokens=4, **more)


def _convnext(depths: list[int], widths: list[int]) -> PixelConfig:
    backbone = {"depths": depths, "hidden_sizes": widths}
    return PixelConfig("convnext", 1024, widths[2], (widths[0], widths[1]), backbone=backbone)


_GATED = {"use_gated_mlp": True, "hidden_act": "silu"}
# name: (hub name of its weights, sizes). Canvases of patch-14 encoders are multiples of 14 and 16 both.
PIXEL_ENCODERS: dict[str, tuple[str, PixelConfig]] = {
    "sam-b": ("facebook/sam-vit-base", _sam(768, 12, 12, [2, 5, 8, 11])),
    "sam-l": ("facebook/sam-vit-large", _sam(1024, 24, 16, [5, 11, 17, 23])),
    "sam-h": ("facebook/sam-vit-huge", _sam(1280, 32, 16, [7, 15, 23, 31])),
    "sam2-t": ("facebook/sam2.1-hiera-tiny", _sam2(96, 1, [1, 2, 7, 2], [5, 7, 9])),
    "sam2-s": ("facebook/sam2.1-hiera-small", _sam2(96, 1, [1, 2, 11, 2], [7, 10, 13])),
    "sam2-b": (
        "facebook/sam2.1-hiera-base-plus",
        _sam2(112, 2, [2, 3, 16, 3], [12, 16, 20], window_positional_embedding_background_size=[14, 14]),
    ),
    "sam2-l": (
        "facebook/sam2.1-hiera-large",
        _sam2(144, 2, [2, 6, 36, 4], [23, 33, 43], window_size_per_stage=[8, 4, 16, 8]),
    ),
    "dinov2-s": ("facebook/dinov2-small", _vit("dinov2", 896, 384, 12, 6, image_size=518)),
    "dinov2-b": ("facebook/dinov2-base", _vit("dinov2", 896, 768, 12, 12, image_size=518)),
    "dinov2-l": ("facebook/dinov2-large", _vit("dinov2", 896, 1024, 24, 16, image_size=518)),
    "dinov2-g": ("facebook/dinov2-giant", _vit("dinov2", 896, 1536, 40, 24, image_size=518, use_swiglu_ffn=True)),
    "dinov3-s": ("facebook/dinov3-vits16-pretrain-lvd1689m", _dinov3(384, 12, 6, 1536)),
    "dinov3-b": ("facebook/dinov3-vitb16-pretrain-lvd1689m", _dinov3(768, 12, 12, 3072)),
    "dinov3-l": ("facebook/dinov3-vitl16-pretrain-lvd1689m", _dinov3(1024, 24, 16, 4096)),
    "dinov3-h": ("facebook/dinov3-vith16plus-pretrain-lvd1689m", _dinov3(1280, 32, 20, 5120, **_GATED)),
    "clip-b": ("openai/clip-vit-base-patch16", _vit("clip", 672, 768, 12, 12, intermediate_size=3072, patch_size=16)),
    "clip-l": (
        "openai/clip-vit-large-patch14-336",
        _vit("clip", 672, 1024, 24, 16, intermediate_size=4096, patch_size=14, image_size=336),
    ),
    "siglip-b": (
        "google/siglip-base-patch16-384",
        _vit("siglip", 768, 768, 12, 12, intermediate_size=3072, image_size=384),
    ),
    "siglip-so400m": (
        "google/siglip-so400m-patch14-384",
        _vit("siglip", 784, 1152, 27, 16, intermediate_size=4304, patch_size=14, image_size=384),
    ),
    "convnext-t": ("facebook/convnextv2-tiny-22k-384", _convnext([3, 3, 9, 3], [96, 192, 384, 768])),
    "convnext-b": ("facebook/convnextv2-base-22k-384", _convnext([3, 3, 27, 3], [128, 256, 512, 1024])),
    "convnext-l": ("facebook/convnextv2-large-22k-384", _convnext([3, 3, 27, 3], [192, 384, 768, 1536])),
}

_NANO = AGVASConfig(
    preset="nano",
    serving_px=384,
    serving_also=(0.6, 0.4),
    serving_outline=1.6,
    semantic=SemanticConfig(image_px=256, patch_px=32, width=192, mlp_width=768, layers=4, heads=4),
    llm=LLMConfig(
        vocab_size=1280,
        width=256,
        mlp_width=768,
        layers=4,
        heads=4,
        kv_heads=4,
        max_positions=2048,
        tie_embeddings=True,
    ),
    pixel=PixelConfig(
        kind="conv",
        image_px=256,
        width=256,
        widths_high_res=(64, 128),
        blocks=(2, 3, 3),
        attention_layers=8,
        attention_convs=True,
        heads=8,
    ),
    decoder=DecoderConfig(
        width=256,
        heads=8,
        mlp_width=512,
        use_region_tokens=True,
        region_lens=True,
        region_loupe=True,
        measured_kinds=True,
    ),
)

# what a GPU can teach in half an hour and two CPU cores still serve within a second
_MINI = replace(
    _NANO,
    preset="mini",
    serving_px=512,
    serving_also=(0.6,),
    semantic=SemanticConfig(image_px=512, patch_px=32, width=192, mlp_width=768, layers=4, heads=4),
    llm=replace(_NANO.llm, width=384, mlp_width=768, layers=5, heads=6, kv_heads=6),
    pixel=replace(_NANO.pixel, image_px=512, blocks=(2, 4, 3), attention_layers=6),
    decoder=replace(_NANO.decoder, region_loupe=False),  # half a million parameters for a point of kinds (LOG.md)
)

PRESETS: dict[str, AGVASConfig] = {
    "nano": _NANO,
    "mini": _MINI,
    "tiny-test": replace(
        _NANO,
        preset="tiny-test",
        serving_px=64,
        serving_also=(),
        serving_outline=0.0,
        semantic=SemanticConfig(image_px=64, patch_px=32, width=32, mlp_width=64, layers=1, heads=2),
        llm=LLMConfig(
            vocab_size=1280,
            width=32,
            mlp_width=64,
            layers=2,
            heads=2,
            kv_heads=2,
            max_positions=2048,
            tie_embeddings=True,
        ),
        pixel=PixelConfig(
            kind="conv", image_px=64, width=32, widths_high_res=(16, 16), blocks=(1, 1, 1), attention_layers=1, heads=2
        ),
        decoder=DecoderConfig(width=32, heads=2, mlp_width=64, mask_width=8, use_region_tokens=True),
    ),
    "onevision-0.5b": AGVASConfig(
        preset="onevision-0.5b",
        base="llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
        llm=LLMConfig(
            vocab_size=152_000,
            width=896,
            mlp_width=4864,
            layers=24,
            heads=14,
            kv_heads=2,
            rope_theta=1e6,
            tie_embeddings=True,
        ),
    ),
    "onevision-7b": AGVASConfig(
        preset="onevision-7b",
        base="llava-hf/llava-onevision-qwen2-7b-ov-hf",
        llm=LLMConfig(rope_theta=1e6),
    ),
    "llava-13b": AGVASConfig(
        preset="llava-13b",
        family="llava",
        base="llava-hf/llava-1.5-13b-hf",
        semantic=SemanticConfig(image_px=336, width=1024, mlp_width=4096, layers=24),
        llm=LLMConfig(
            vocab_size=32_064,
            width=5120,
            mlp_width=13_824,
            layers=40,
            heads=40,
            kv_heads=40,
            max_positions=4096,
            norm_eps=1e-5,
        ),
    ),
}
BASES = tuple(name for name, preset in PRESETS.items() if preset.base)  # on weights of the hub
_PIXEL_OF_PRESET = {"onevision-0.5b": "sam-b", "onevision-7b": "sam-h", "llava-13b": "sam-h"}


def get_preset(name: str, pixel: str | None = None) -> AGVASConfig:
    """Return a preset by its name, with another pixel encoder of PIXEL_ENCODERS if one is named.

    Raises:
        ValueError: when there is no such preset or pixel encoder; the message lists the names.
    """
    if name not in PRESETS:
        raise ValueError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name] if pixel is None else with_pixel_encoder(PRESETS[name], pixel)


def with_pixel_encoder(config: AGVASConfig, pixel: str) -> AGVASConfig:
    """Return a config whose pixel encoder is the one of that name; ValueError that lists the names otherwise."""
    if pixel not in PIXEL_ENCODERS:
        raise ValueError(f"There is no pixel encoder {pixel!r}; choose one of {', '.join(PIXEL_ENCODERS)}.")
    base, sizes = PIXEL_ENCODERS[pixel]
    return replace(config, pixel=sizes, pixel_base=base)


def with_anyres(config: AGVASConfig, side_tiles: int = 6) -> AGVASConfig:
    """Return a config that also sees an image in tiles, up to side_tiles each way, as LLaVA-OneVision was trained.

    Raises:
        ValueError: when the base knows no tiles.
    """
    if config.family != "onevision" or not config.base:
        raise ValueError(f"Only the LLaVA-OneVision bases see images in tiles (anyres); {config.preset} does not.")
    side, counts = config.semantic.image_px, range(1, side_tiles + 1)
    return replace(config, anyres=tuple((side * rows, side * columns) for rows in counts for columns in counts))


PRESETS |= {name: with_pixel_encoder(PRESETS[name], pixel) for name, pixel in _PIXEL_OF_PRESET.items()}
