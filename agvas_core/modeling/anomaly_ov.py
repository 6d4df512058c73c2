"""Anomaly-OV's expert: saliency = mean over levels l of softmax(100 f_l . [e+_l, e-_l]), and the tokens it selects."""

# I images, T crops of all of them (each image's overview first), N = G x G positions, D vision width, M match width,
# S x S selected tokens a crop, W width of the LLM

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, interpolate, normalize

SUSPICION_WORDS: tuple[str, str, str] = ("slightly", "moderately", "highly")
SUSPICION_BOUNDS = (0.3, 0.7)  # score below the first: slightly; below the second: moderately
SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class ExpertConfig:
    """Sizes of an expert; the defaults are those of the released ones.

    Attributes:
        levels: indices of the vision tower's hidden states (0 is its embedding) that are matched.
        level_widths: channels of each level, the pixel levels last.
        width: channels of the final features, from which the tokens and the score are made.
        grid: G, positions along a side of the final features and of the saliency.
        match_width: M, width in which features and embeddings are compared.
        scale: factor of the cosine before the softmax.
        token_grid: S, selected tokens along a side of a crop.
        use_look_back: the class vector of the first look conditions the embeddings (ablation "w/o look-back").
        use_embeddings: e+ and e- are learned (ablation "w/o e+/e-"); without them the class vector alone makes both.
        pixel_strides: Paper differs: strides (16, 8, 4) of the pixel eye's features that are matched as further levels.
            With any, the final features are the vision tower's joined with the pixel eye's at stride 16.
        pixel_px: side in px to which images are brought for the pixel eye; 0 without pixel_strides.
    """

    levels: tuple[int, ...] = (7, 13, 19, 25)
    level_widths: tuple[int, ...] = (1152, 1152, 1152, 1152)
    width: int = 1152
    grid: int = 27
    match_width: int = 512
    scale: float = 100.0
    token_grid: int = 2
    use_look_back: bool = True
    use_embeddings: bool = True
    pixel_strides: tuple[int, ...] = ()
    pixel_px: int = 0

    def __post_init__(self) -> None:
        if not (self.use_look_back or self.use_embeddings):
            raise ValueError("Look-back and embeddings cannot both be left out: nothing would be left to match with.")
        if len(self.level_widths) != len(self.levels) + len(self.pixel_strides):
            raise ValueError("level_widths must name one width for each of levels and pixel_strides.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ExpertConfig:
        """Return the config of to_dict's values; ValueError on an unknown field."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"The expert's config has unknown fields: {', '.join(sorted(unknown))}.")
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)


@dataclass(frozen=True, eq=False)
class ExpertFeatures:
    """What the vision tower saw of T crops.

    Attributes:
        final: its last state without a norm, (T, N, D).
        levels: its earlier states, each (T, N_l, D_l) with a square N_l.
    """

    final: Tensor
    levels: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class ExpertOutput:
    """What the expert found.

    Attributes:
        saliency: (T, G, G) in [0, 1], mean of the levels' maps.
        significance: (T,), mean of each crop's saliency.
        tokens: selected tokens (T, S * S, D).
        global_tokens: (I, D), mean of an image's tokens weighted by pooled saliency times significance.
        logits: (I,), image score before its sigmoid.
    """

    saliency: Tensor
    significance: Tensor
    tokens: Tensor
    global_tokens: Tensor
    logits: Tensor


class TokenSelector(nn.Module):
    """One single-head cross-attention: tokens ask, the crop's features answer with themselves."""

    def __init__(self, width: int, match_width: int) -> None:
        super().__init__()
        self.query_proj = nn.Linear(width, match_width)
        self.key_proj = nn.Linear(width, match_width)

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        """(T, S * S, D), (T, N, D) -> (T, S * S, D)."""
        query, key = self.query_proj(tokens), self.key_proj(features)
        return (query @ key.transpose(1, 2) * query.shape[-1] ** -0.5).softmax(-1) @ features


class AnomalyExpert(nn.Module):
    """Look-Twice Feature Matching and the visual token selector; names as in the released state dicts."""

    def __init__(self, config: ExpertConfig) -> None:
        super().__init__()
        self.config = config
        m, width = config.match_width, config.width
        if config.use_embeddings:
            self.positive_embedding = nn.Parameter(torch.randn(1, m))  # e+, normal
            self.negative_embedding = nn.Parameter(torch.randn(1, m))  # e-, anomalous
        if config.use_look_back:
            self.pooling_layer = nn.Sequential(nn.Linear(config.grid**2, 1))
            self.class_predictor = _mlp(width, m, m)
        self.siglip_adaptors = nn.ModuleList(nn.Linear(w, m) for w in config.level_widths)
        wide_in, wide_out = 1 + (config.use_look_back and config.use_embeddings), 1 + (not config.use_embeddings)
        self.prompt_adaptors = nn.ModuleList(nn.Linear(wide_in * m, wide_out * m) for _ in config.level_widths)
        self.final_predictor = _mlp(width, m, 1)
        self.q_former = TokenSelector(width, m)

    def forward(self, features: ExpertFeatures, crops: Sequence[int]) -> ExpertOutput:
        """Return what is found in images of so many crops each (the overview counts as one and comes first)."""
        config, final = self.config, features.final
        assert sum(crops) == len(final) and len(features.levels) == len(config.level_widths)
        counts = torch.tensor(crops, device=final.device)
        of_image = torch.repeat_interleave(torch.arange(len(counts), device=final.device), counts)  # (T,)
        class_vectors = self._first_look(final[counts.cumsum(0) - counts]) if config.use_look_back else None  # (I, M)
        maps = torch.stack(
            [
                self._second_look(level, adaptor, self._prompts(prompt, class_vectors, len(counts))[of_image])
                for level, adaptor, prompt in zip(
                    features.levels, self.siglip_adaptors, self.prompt_adaptors, strict=True
                )
            ]
        )  # (levels, T, G, G)
        saliency = maps.mean(0)  # (T, G, G)
        significance = saliency.mean((1, 2))  # (T,)
        pooled = self._pool(saliency[:, None])[..., 0]  # (T, S * S)
        grid = final.transpose(1, 2).unflatten(2, (config.grid, config.grid))  # (T, D, G, G)
        tokens = self._pool(grid * saliency[:, None]) / pooled[..., None].clamp_min(SMALLEST)  # (T, S * S, D)
        tokens = self.q_former(tokens, final)
        weight = pooled * significance[:, None]  # (T, S * S)
        total = weight.new_zeros(len(counts)).index_add(0, of_image, weight.sum(1))
        summed = tokens.new_zeros(len(counts), config.width)
        summed = summed.index_add(0, of_image, (weight[..., None] * tokens).sum(1))
        global_tokens = summed / total[:, None].clamp_min(SMALLEST)  # (I, D)
        logits = self.final_predictor(global_tokens)[:, 0]  # (I,)
        return ExpertOutput(saliency, significance, tokens, global_tokens, logits)

    def _first_look(self, overviews: Tensor) -> Tensor:
        """(I, N, D) -> class vectors (I, M)."""
        return self.class_predictor(self.pooling_layer(overviews.transpose(1, 2))[..., 0])

    def _prompts(self, adaptor: nn.Module, class_vectors: Tensor | None, images: int) -> Tensor:
        """Return a level's e+ and e-, (I, 2, M), of length 1."""
        if not self.config.use_embeddings:
            assert class_vectors is not None
            both = adaptor(class_vectors).unflatten(1, (2, -1))
        else:
            both = torch.stack([self.positive_embedding, self.negative_embedding], dim=1).expand(images, -1, -1)
            if class_vectors is not None:
                both = torch.cat([both, class_vectors[:, None].expand(-1, 2, -1)], dim=2)  # (I, 2, 2M)
            both = adaptor(both)
        return normalize(both, dim=-1)

    def _second_look(self, level: Tensor, adaptor: nn.Module, prompts: Tensor) -> Tensor:
        """Return a level's map (T, G, G) from its features (T, N_l, D_l) and prompts (T, 2, M)."""
        matched = normalize(adaptor(level), dim=-1)  # (T, N_l, M)
        prob = (self.config.scale * matched @ prompts.transpose(1, 2)).softmax(-1)[..., 1]  # (T, N_l)
        side, grid = round(prob.shape[1] ** 0.5), self.config.grid
        level_map = prob.unflatten(1, (side, side))
        if side > grid:  # a thin defect must not be averaged away
            return adaptive_max_pool2d(level_map[:, None], grid)[:, 0]
        if side < grid:
            return interpolate(level_map[:, None], (grid, grid), mode="bilinear", align_corners=False)[:, 0]
        return level_map

    def _pool(self, maps: Tensor) -> Tensor:
        """(T, C, G, G) -> (T, S * S, C)."""
        return adaptive_avg_pool2d(maps, self.config.token_grid).flatten(2).transpose(1, 2)


def load_expert_state(expert: AnomalyExpert, state: dict[str, Tensor], source: str) -> None:
    """Copy weights into an expert; ValueError that names what is missing, unknown or of another shape."""
    wanted = {name: tuple(value.shape) for name, value in expert.state_dict().items()}
    problems = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("missing", sorted(set(wanted) - set(state))),
            ("unknown", sorted(set(state) - set(wanted))),
            ("of another shape", sorted(n for n in wanted if n in state and tuple(state[n].shape) != wanted[n])),
        )
        if names
    ]
    if problems:
        raise ValueError(f"{source} does not fit the expert; " + "; ".join(problems) + ".")
    expert.load_state_dict(state)


def suspicion_word(score: float) -> str:
    """Return "slightly", "moderately" or "highly" for a score in [0, 1]."""
    low, high = SUSPICION_BOUNDS
    return SUSPICION_WORDS[0 if score < low else 1 if score < high else 2]


def suspicion_phrase(score: float) -> str:
    """Return the words between the image's tokens and the selected ones in the LLM's prompt."""
    return f"with {suspicion_word(score)} suspicious features: "


def arrange_tokens(global_token: Tensor, tokens: Tensor, grid_hw: tuple[int, int], newline: Tensor) -> Tensor:
    """Return an image's selected tokens in the order in which the LLM reads them, (L, W).

    The global token, the overview's S * S, then those of the crops as one picture, row by row, a newline after each.

    Args:
        global_token: (W,), projected as all others.
        tokens: (1 + rows * columns, S * S, W), the overview's first, the crops' row by row.
        grid_hw: rows and columns of crops.
        newline: (W,).
    """
    rows, columns = grid_hw
    assert len(tokens) == 1 + rows * columns
    side = round(tokens.shape[1] ** 0.5)
    picture = tokens[1:].unflatten(0, (rows, columns)).unflatten(2, (side, side))  # (rows, columns, S, S, W)
    picture = picture.permute(0, 2, 1, 3, 4).flatten(0, 1).flatten(1, 2)  # (rows * S, columns * S, W)
    ends = newline.expand(len(picture), 1, -1)
    lines = torch.cat([picture, ends], dim=1).flatten(0, 1)
    return torch.cat([global_token[None], tokens[0], lines])


def stitch_crops(maps: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Return one picture (rows * G, columns * G) from the crops' maps (rows * columns, G, G), row by row."""
    rows, columns = grid_hw
    return maps.unflatten(0, (rows, columns)).permute(0, 2, 1, 3).flatten(0, 1).flatten(1, 2)


def _mlp(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))
