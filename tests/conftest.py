"""What the tests of the model share: the tokenizer, small models with random weights, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from agvas_core.config import AGVASConfig, get_preset
from agvas_core.modeling.agvas import AGVAS, TokenIds
from agvas_core.processing import open_image
from agvas_core.structures import InspectionImage

Pictures = Callable[..., InspectionImage]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The bundled model's tokenizer."""
    from agvas_core.tokenizer import build_tokenizer

    return build_tokenizer()


@pytest.fixture(scope="session")
def token_ids(tokenizer: PreTrainedTokenizerFast) -> TokenIds:
    """Image, region and anchor ids."""
    from agvas_core.checkpoint import token_ids_of

    return token_ids_of(tokenizer)


def small_config(**decoder: object) -> AGVASConfig:
    """The preset for tests, with changes in its decoder."""
    config = get_preset("tiny-test")
    return replace(config, decoder=replace(config.decoder, **decoder))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_model(token_ids: TokenIds) -> Callable[..., AGVAS]:
    """Return a function that makes a small model from a seed and changes of the decoder."""
    from agvas_core.modeling.agvas import build_agvas

    def make(seed: int = 0, **decoder: object) -> AGVAS:
        torch.manual_seed(seed)
        return build_agvas(small_config(**decoder), token_ids).eval()

    return make


@pytest.fixture(scope="session")
def picture() -> Pictures:
    """Return a function that makes a noisy picture with a dark spot from a seed and a size."""

    def make(seed: int = 0, size_hw: tuple[int, int] = (96, 96)) -> InspectionImage:
        rng = np.random.default_rng(seed)
        rgb = rng.integers(100, 200, (*size_hw, 3), dtype=np.uint8)
        top, left = rng.integers(0, size_hw[0] // 2 + 1), rng.integers(0, size_hw[1] // 2 + 1)
        rgb[top : top + max(1, size_hw[0] // 4), left : left + max(1, size_hw[1] // 4)] = 10
        return open_image(rgb, name=f"picture {seed}")

    return make


@pytest.fixture(scope="session")
def checkpoint(
    make_model: Callable[..., AGVAS],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A small model's folder whose record says that it was trained."""
    from agvas_core.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint")
    model = make_model(region_kinds=("scratch", "hole"))
    save_checkpoint(model, tokenizer, folder, card="# Made for tests", training={"summary": "made for tests"})
    return folder
