"""AGVASConfig: every size of the model in one frozen value, and the presets from nano to the paper's 7B."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SemanticConfig:
    """The semantic eye: SigLIP ViT of LLaVA-OneVision. Sizes in px, layers and widths in counts."""

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
    """The language model: Qwen2."""

    vocab_size: int = 152_000
    width: int = 3584
    mlp_width: int = 18_944
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    max_positions: int = 32_768
    tie_embeddings: bool = False


@dataclass(frozen=True)
class PixelConfig:
    """The pixel eye. kind "conv" is the bundled residual network; others name a transformers class (see pixel_encoder).

    Attributes:
        kind: "conv" or "sam".
        image_px: side of the square canvas at training; conv serves any multiple of 32.
        width: channels of the stride-16 embedding f_p.
        widths_high_res: channels of the features at strides 4 and 8 ("conv" only).
        blocks: residual blocks at strides 4, 8, 16 ("conv" only).
        attention_layers: transformer layers over the stride-16 cells (SAM: all of its layers).
        heads: attention heads.
        sam_width: hidden width of SAM's ViT ("sam" only).
        sam_global_layers: indices of SAM's layers with global attention ("sam" only).
    """

    kind: str = "sam"
    image_px: int = 1024
    width: int = 256
    widths_high_res: tuple[int, int] = (0, 0)
    blocks: tuple[int, int, int] = (0, 0, 0)
    attention_layers: int = 32
    heads: int = 16
    sam_width: int = 1280
    sam_global_layers: tuple[int, ...] = (7, 15, 23, 31)


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
    region_kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class AGVASConfig:
    """All of AG-VAS.

    Attributes:
        preset: name of the preset that it began as.
        base: hub name of the LMM that the weights start from, or "" when trained from scratch.
        pixel_base: hub name of the pixel encoder that the weights start from, or "".
        serving_px: long side to which images are brought for the pixel encoder when serving.
    """

    preset: str
    base: str = ""
    pixel_base: str = ""
    serving_px: int = 1024
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    llm: LLMConfig = field(default_factory=LLMConfig)
    pixel: PixelConfig = field(default_factory=PixelConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self) -> None:
        if not (self.decoder.use_seg or self.decoder.use_relative):
            raise ValueError("At least one of [SEG] and [NOR][ANO] must be used: without both there is no mask.")

    @property
    def image_tokens(self) -> int:
        """Placeholders of one image in the LLM's input: f_s, then f_align when SPAM is used (Eq. 3)."""
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
        parts = {"semantic": SemanticConfig, "llm": LLMConfig, "pixel": PixelConfig, "decoder": DecoderConfig}
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


_NANO = AGVASConfig(
    preset="nano",
    serving_px=384,
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
        kind="conv", image_px=256, width=256, widths_high_res=(64, 128), blocks=(2, 3, 3), attention_layers=3, heads=8
    ),
    decoder=DecoderConfig(width=256, heads=8, mlp_width=512, use_region_tokens=True),
)

PRESETS: dict[str, AGVASConfig] = {
    "nano": _NANO,
    "tiny-test": replace(
        _NANO,
        preset="tiny-test",
        serving_px=64,
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
        pixel_base="facebook/sam-vit-base",
        llm=LLMConfig(width=896, mlp_width=4864, layers=24, heads=14, kv_heads=2, tie_embeddings=True),
        pixel=PixelConfig(attention_layers=12, heads=12, sam_width=768, sam_global_layers=(2, 5, 8, 11)),
    ),
    "onevision-7b": AGVASConfig(
        preset="onevision-7b",
        base="llava-hf/llava-onevision-qwen2-7b-ov-hf",
        pixel_base="facebook/sam-vit-huge",
    ),
}


def get_preset(name: str) -> AGVASConfig:
    """Return a preset by its name; ValueError that lists the names otherwise."""
    if name not in PRESETS:
        raise ValueError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
