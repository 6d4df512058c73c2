"""The expert against a second calculation in plain numpy, written from the description and not from the code."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from agvas_core.modeling.anomaly_ov import (
    AnomalyExpert,
    ExpertConfig,
    ExpertFeatures,
    arrange_tokens,
    load_expert_state,
    stitch_crops,
    suspicion_phrase,
    suspicion_word,
)

SMALL = ExpertConfig(
    levels=(1, 2, 3, 4), level_widths=(24,) * 4, width=24, grid=5, match_width=16, scale=10.0, token_grid=2
)
# what the released files hold, name by name
RELEASED = {
    "positive_embedding": (1, 512),
    "negative_embedding": (1, 512),
    "pooling_layer.0.weight": (1, 729),
    "pooling_layer.0.bias": (1,),
    "class_predictor.0.weight": (512, 1152),
    "class_predictor.0.bias": (512,),
    "class_predictor.2.weight": (512, 512),
    "class_predictor.2.bias": (512,),
    **{f"siglip_adaptors.{i}.weight": (512, 1152) for i in range(4)},
    **{f"siglip_adaptors.{i}.bias": (512,) for i in range(4)},
    **{f"prompt_adaptors.{i}.weight": (512, 1024) for i in range(4)},
    **{f"prompt_adaptors.{i}.bias": (512,) for i in range(4)},
    "final_predictor.0.weight": (512, 1152),
    "final_predictor.0.bias": (512,),
    "final_predictor.2.weight": (1, 512),
    "final_predictor.2.bias": (1,),
    "q_former.query_proj.weight": (512, 1152),
    "q_former.query_proj.bias": (512,),
    "q_former.key_proj.weight": (512, 1152),
    "q_former.key_proj.bias": (512,),
}


def made_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights by a fixed rule: as large as an initialisation's, and no two alike."""
    rng = np.random.default_rng(seed)
    return {
        name: torch.from_numpy((rng.standard_normal(shape) / math.sqrt(shape[-1])).astype(np.float32))
        for name, shape in shapes.items()
    }


def made_expert(config: ExpertConfig = SMALL, seed: int = 0) -> AnomalyExpert:
    expert = AnomalyExpert(config).eval()
    expert.load_state_dict(made_state({n: tuple(v.shape) for n, v in expert.state_dict().items()}, seed))
    return expert


def made_features(crops: int, config: ExpertConfig = SMALL, seed: int = 1) -> ExpertFeatures:
    rng = np.random.default_rng(seed)
    n = config.grid**2

    def draw(width: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal((crops, n, width)).astype(np.float32))

    return ExpertFeatures(draw(config.width), tuple(draw(w) for w in config.level_widths))


# --- the same in numpy ------------------------------------------------------------------------------------------------


def linear(w: dict, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def mlp(w: dict, name: str, x: np.ndarray) -> np.ndarray:
    hidden = linear(w, f"{name}.0", x)
    gelu = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return linear(w, f"{name}.2", gelu)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def adaptive_mean(grid: np.ndarray, side: int) -> np.ndarray:
    """(G, G, ...) -> (side * side, ...): cell i reads rows floor(i G / side) to ceil((i + 1) G / side)."""
    size = len(grid)
    spans = [(i * size // side, -(-(i + 1) * size // side)) for i in range(side)]
    return np.array([grid[a:b, c:d].mean((0, 1)) for a, b in spans for c, d in spans])


def expert_in_numpy(w: dict, config: ExpertConfig, final: np.ndarray, levels: list[np.ndarray]) -> dict:
    """One image, by the description: final (K, N, D), levels (K, N, D_l)."""
    pooled = final[0].T @ w["pooling_layer.0.weight"][0] + w["pooling_layer.0.bias"][0]  # (D,)
    class_vector = mlp(w, "class_predictor", pooled)
    maps = []
    for i, level in enumerate(levels):
        plus = unit(linear(w, f"prompt_adaptors.{i}", np.concatenate([w["positive_embedding"][0], class_vector])))
        minus = unit(linear(w, f"prompt_adaptors.{i}", np.concatenate([w["negative_embedding"][0], class_vector])))
        matched = unit(linear(w, f"siglip_adaptors.{i}", level))
        maps.append(softmax(config.scale * np.stack([matched @ plus, matched @ minus], -1))[..., 1])
    saliency = np.mean(maps, 0)  # (K, N)
    significance = saliency.mean(1)
    g, s = config.grid, config.token_grid
    tokens, weights = [], []
    for k in range(len(final)):
        heat = saliency[k].reshape(g, g)
        weighted = adaptive_mean(final[k].reshape(g, g, -1) * heat[..., None], s)
        own = weighted / adaptive_mean(heat, s)[:, None]
        query, key = linear(w, "q_former.query_proj", own), linear(w, "q_former.key_proj", final[k])
        tokens.append(softmax(query @ key.T / math.sqrt(config.match_width)) @ final[k])
        weights.append(adaptive_mean(heat, s) * significance[k])
    flat, weight = np.concatenate(tokens), np.concatenate(weights)
    global_token = (flat * weight[:, None]).sum(0) / weight.sum()
    logit = mlp(w, "final_predictor", global_token)[0]
    return {
        "saliency": saliency.reshape(-1, g, g),
        "significance": significance,
        "tokens": np.stack(tokens),
        "global": global_token,
        "logit": logit,
    }


def compare(output, wanted: dict, tolerance: float = 2e-4) -> None:
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(output.saliency.numpy(), wanted["saliency"], **close)
    np.testing.assert_allclose(output.significance.numpy(), wanted["significance"], **close)
    np.testing.assert_allclose(output.tokens.numpy(), wanted["tokens"], **close)
    np.testing.assert_allclose(output.global_tokens[0].numpy(), wanted["global"], **close)
    np.testing.assert_allclose(float(output.logits[0]), wanted["logit"], **close)


@torch.inference_mode()
@pytest.mark.parametrize(("crops", "grid"), [(1, 5), (3, 5), (5, 4)])
def test_every_step_has_the_values_of_a_second_calculation(crops, grid):
    config = replace(SMALL, grid=grid)
    expert, features = made_expert(config), made_features(crops, config)
    output = expert(features, [crops])
    assert output.saliency.shape == (crops, grid, grid)
    assert output.tokens.shape == (crops, 4, config.width)
    assert 0.05 < float(output.saliency.std())  # a map that says nothing would prove nothing
    weights = {n: v.numpy().astype(np.float64) for n, v in expert.state_dict().items()}
    levels = [level.numpy().astype(np.float64) for level in features.levels]
    compare(output, expert_in_numpy(weights, config, features.final.numpy().astype(np.float64), levels))


@torch.inference_mode()
def test_the_released_sizes_load_strictly_and_give_the_same_values(tmp_path):
    path = tmp_path / "pretrained_expert_7b.pth"
    torch.save(made_state(RELEASED), path)
    config = ExpertConfig()
    expert = AnomalyExpert(config).eval()
    assert {n: tuple(v.shape) for n, v in expert.state_dict().items()} == RELEASED
    load_expert_state(expert, torch.load(path, weights_only=True), path.name)
    features = made_features(2, config)
    output = expert(features, [2])
    assert output.saliency.shape == (2, 27, 27)
    weights = {n: v.numpy().astype(np.float64) for n, v in expert.state_dict().items()}
    levels = [level.numpy().astype(np.float64) for level in features.levels]
    compare(output, expert_in_numpy(weights, config, features.final.numpy().astype(np.float64), levels), 1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"q_former.key_proj.bias": None}, "missing: q_former.key_proj.bias"),
        ({"zero_conv.weight": torch.zeros(3)}, "unknown: zero_conv.weight"),
        ({"negative_embedding": torch.zeros(1, 17)}, "of another shape: negative_embedding"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_by_name(change, said):
    expert = made_expert()
    before = {n: v.clone() for n, v in expert.state_dict().items()}
    state = {n: v for n, v in ({n: v + 1 for n, v in before.items()} | change).items() if v is not None}
    with pytest.raises(ValueError, match=rf"expert\.pth .*{said}"):
        load_expert_state(expert, state, "expert.pth")
    assert all(torch.equal(v, before[n]) for n, v in expert.state_dict().items())


@torch.inference_mode()
def test_a_batch_of_images_equals_single_ones():
    expert, crops = made_expert(SMALL), [3, 1, 2]
    features = made_features(sum(crops))
    together = expert(features, crops)
    start = 0
    for i, count in enumerate(crops):
        part = slice(start, start + count)
        alone = expert(ExpertFeatures(features.final[part], tuple(v[part] for v in features.levels)), [count])
        torch.testing.assert_close(together.saliency[part], alone.saliency)
        torch.testing.assert_close(together.tokens[part], alone.tokens)
        torch.testing.assert_close(together.global_tokens[i], alone.global_tokens[0])
        torch.testing.assert_close(together.logits[i], alone.logits[0])
        start += count


@torch.inference_mode()
def test_the_overview_is_looked_at_first_for_every_crop():
    expert, features = made_expert(), made_features(3)
    base = expert(features, [3])
    changed = features.final.clone()
    changed[0] += 1.0
    other = expert(ExpertFeatures(changed, features.levels), [3])
    assert not torch.allclose(other.saliency[2], base.saliency[2], atol=1e-3)
    changed = features.final.clone()
    changed[2] += 1.0  # a crop conditions nobody, itself included
    other = expert(ExpertFeatures(changed, features.levels), [3])
    torch.testing.assert_close(other.saliency, base.saliency)


# --- ablations of the paper's table -----------------------------------------------------------------------------------


@torch.inference_mode()
def test_without_look_back_the_first_look_is_gone():
    config = replace(SMALL, use_look_back=False)
    expert, features = made_expert(config), made_features(2)
    names = set(expert.state_dict())
    assert not any(n.startswith(("pooling_layer", "class_predictor")) for n in names)
    base = expert(features, [2])
    other = expert(ExpertFeatures(features.final + 1.0, features.levels), [2])
    torch.testing.assert_close(other.saliency, base.saliency)
    w = {n: v.numpy() for n, v in expert.state_dict().items()}
    level = features.levels[0].numpy()
    prompts = [unit(linear(w, "prompt_adaptors.0", w[f"{e}_embedding"][0])) for e in ("positive", "negative")]
    matched = unit(linear(w, "siglip_adaptors.0", level))
    first = softmax(config.scale * np.stack([matched @ p for p in prompts], -1))[..., 1]
    one = AnomalyExpert(replace(config, levels=(1,), level_widths=(24,)))
    one.load_state_dict({n: v for n, v in expert.state_dict().items() if "adaptors" not in n or "s.0." in n})
    alone = one.eval()(ExpertFeatures(features.final, features.levels[:1]), [2])
    np.testing.assert_allclose(alone.saliency.flatten(1).numpy(), first, atol=1e-4)


@torch.inference_mode()
def test_without_embeddings_the_class_vector_alone_makes_both_prompts():
    config = replace(SMALL, use_embeddings=False, levels=(1,), level_widths=(24,))
    expert, features = made_expert(config), made_features(2, config)
    assert not any("embedding" in n for n in expert.state_dict())
    w = {n: v.numpy().astype(np.float64) for n, v in expert.state_dict().items()}
    pooled = features.final[0].numpy().T @ w["pooling_layer.0.weight"][0] + w["pooling_layer.0.bias"][0]
    both = linear(w, "prompt_adaptors.0", mlp(w, "class_predictor", pooled))
    matched = unit(linear(w, "siglip_adaptors.0", features.levels[0].numpy()))
    wanted = softmax(config.scale * np.stack([matched @ unit(both[:16]), matched @ unit(both[16:])], -1))[..., 1]
    np.testing.assert_allclose(expert(features, [2]).saliency.flatten(1).numpy(), wanted, atol=1e-4)


def test_nothing_to_match_with_is_refused():
    with pytest.raises(ValueError, match="Look-back and embeddings"):
        replace(SMALL, use_look_back=False, use_embeddings=False)
    with pytest.raises(ValueError, match="level_widths"):
        replace(SMALL, level_widths=(24,))


def test_learning_reaches_every_weight_of_every_ablation():
    for change in ({}, {"use_look_back": False}, {"use_embeddings": False}):
        expert = made_expert(replace(SMALL, **change)).train()
        output = expert(made_features(3), [2, 1])
        (output.logits.sum() + output.saliency.square().sum()).backward()
        still = {n for n, p in expert.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
        # a bias of all keys moves no softmax over them
        assert still <= {"q_former.key_proj.bias"}, (change, still)


# --- levels of other grids, and extremes ------------------------------------------------------------------------------


@torch.inference_mode()
def test_finer_levels_keep_their_highest_cell_and_coarser_ones_are_spread():
    config = replace(SMALL, grid=4, levels=(1,), level_widths=(24,))
    expert = made_expert(config)
    for side in (8, 2):
        features = made_features(1, replace(config, grid=side))
        native = AnomalyExpert(replace(config, grid=side)).eval()
        state = expert.state_dict() | {"pooling_layer.0.weight": torch.zeros(1, side * side)}
        native.load_state_dict(state)
        same_class = AnomalyExpert(config).eval()
        same_class.load_state_dict(expert.state_dict() | {"pooling_layer.0.weight": torch.zeros(1, 16)})
        own = native(features, [1]).saliency[0].numpy()
        final = made_features(1, config).final
        fitted = same_class(ExpertFeatures(final, features.levels), [1]).saliency[0].numpy()
        if side == 8:
            np.testing.assert_allclose(fitted, own.reshape(4, 2, 4, 2).max((1, 3)), atol=1e-6)
        else:
            np.testing.assert_allclose(fitted[[0, 0, 3, 3], [0, 3, 0, 3]], own.ravel(), atol=1e-6)
            np.testing.assert_allclose(fitted.mean(), own.mean(), atol=1e-6)


@torch.inference_mode()
def test_a_saliency_of_nothing_gives_numbers_still():
    config = replace(SMALL, scale=1e6)
    output = made_expert(config)(made_features(2, config), [2])
    for value in (output.tokens, output.global_tokens, output.logits):
        assert bool(torch.isfinite(value).all())


# --- where the LLM reads it -------------------------------------------------------------------------------------------


def test_selected_tokens_are_placed_as_global_overview_then_the_crops_as_one_picture():
    rows, columns = 2, 3
    tokens = torch.arange((1 + rows * columns) * 4.0).view(-1, 4, 1)  # crop k has 4k .. 4k + 3, reading order
    placed = arrange_tokens(torch.tensor([-1.0]), tokens, (rows, columns), torch.tensor([-9.0]))[:, 0]
    assert placed.tolist() == [
        *[-1, 0, 1, 2, 3],
        *[4, 5, 8, 9, 12, 13, -9],
        *[6, 7, 10, 11, 14, 15, -9],
        *[16, 17, 20, 21, 24, 25, -9],
        *[18, 19, 22, 23, 26, 27, -9],
    ]


def test_crops_are_stitched_where_they_were_cut():
    picture = torch.arange(6 * 9.0).view(6, 9)
    crops = torch.stack([picture[r : r + 3, c : c + 3] for r in (0, 3) for c in (0, 3, 6)])
    assert torch.equal(stitch_crops(crops, (2, 3)), picture)


def test_words_of_suspicion_change_at_their_bounds():
    scores = [0.0, 0.2999, 0.3, 0.6999, 0.7, 1.0]
    words = [suspicion_word(s) for s in scores]
    assert words == ["slightly", "slightly", "moderately", "moderately", "highly", "highly"]
    assert suspicion_phrase(0.9) == "with highly suspicious features: "
