"""Words stage: the language model alone, on talks about made-up scenes; what a mask would measure stands in the prompt.

No image is drawn or encoded: a talk costs a tenth of one in the joint stage, and reading places, numbers and kinds
off a measured line, which most answers rest on, takes many talks to learn.
"""

# B talks, L tokens, D width of the LLM

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase

from agvas_core.modeling.agvas import AGVAS
from agvas_core.regions import PLACES
from agvas_core.synthesis.facts import DEFECT_KINDS, SceneFacts
from agvas_core.synthesis.sentences import looks, subject
from agvas_core.synthesis.words import random_scene, talk
from agvas_core.training.joint import MAX_TALK_TOKENS, JointMaker, render_talk
from agvas_core.training.losses import words_loss
from agvas_core.training.sources import SEED_STRIDE
from agvas_core.wording import NUMBERS

ALIKE = 0.9  # cosine of two embeddings above which the language model cannot tell their words apart

BEFORE_NAMES = (" a", " an", " A", "A", " An", "An", " the", " The", "The", " normal", " good")


@dataclass(frozen=True, eq=False)
class WordsBatch:
    """One step: input_ids, attention_mask and targets int64 (B, L), targets -100 where nothing is to be said.

    images: (0,), as the trainer counts them.
    """

    input_ids: Tensor
    attention_mask: Tensor
    targets: Tensor
    images: Tensor


class WordsMaker:
    """Makes the batch of a step from its number; the joint stage's talks without their images."""

    def __init__(self, maker: JointMaker, count: int, *, seed: int) -> None:
        self.maker, self.count, self.seed = maker, count, seed

    def __call__(self, step: int) -> WordsBatch:
        """Return `count` talks."""
        draw = random.Random(self.seed * SEED_STRIDE + step)
        ids, mask, targets = self.maker.pad([self._talk(draw) for _ in range(self.count)])
        return WordsBatch(ids, mask, targets, torch.zeros(0))

    def _talk(self, draw: random.Random) -> tuple[list[int], list[int]]:
        scene = random_scene(draw)
        exchanges = talk(scene, draw)
        while True:  # a talk that is too long loses its last exchanges
            turns, _, _ = render_talk(scene, exchanges, blind=False, kinds=self.maker.config.decoder.measured_kinds)
            row = [(i, t) for i, t in zip(*self.maker.encode(turns), strict=True) if i != self.maker.token_ids.image]
            if len(row) <= MAX_TALK_TOKENS or len(exchanges) == 1:
                ids, targets = [i for i, _ in row], [t for _, t in row]
                return ids, without_unseen(ids, targets, self._only_seen(scene))
            exchanges = exchanges[:-1]

    def _only_seen(self, scene: SceneFacts) -> list[list[int]]:
        """Return the tokens of what only the image would tell: what it shows, and how a good one looks."""
        name = subject(scene).removeprefix("the ")
        # with the word before it, for "part" is also in "a missing part", which the measured line tells
        phrases = [f"{before} {name}" for before in BEFORE_NAMES] + [f" {looks(scene)}"]
        return [self.maker.tokenizer(phrase, add_special_tokens=False).input_ids for phrase in phrases]


def without_unseen(ids: list[int], targets: list[int], unseen: Sequence[list[int]]) -> list[int]:
    """Return targets (L,) without the tokens of phrases that cannot be known here.

    Learned from talks without images, a name becomes the commonest one, whatever is shown ("a part", LOG.md).
    """
    out = list(targets)
    for phrase in unseen:
        for start in range(len(ids) - len(phrase) + 1):
            if ids[start : start + len(phrase)] == phrase:
                out[start : start + len(phrase)] = [-100] * len(phrase)
    return out


class WordsTask(nn.Module):
    """Cross-entropy of the words; holds the language model only."""

    fact_ids: Tensor

    def __init__(self, model: AGVAS, fact_ids: Tensor) -> None:
        super().__init__()
        self.register_buffer("fact_ids", fact_ids, persistent=False)
        self.language_model, self.lm_head = model.lmm.model.language_model, model.lmm.lm_head
        self.region_id = model.token_ids.region

    def forward(self, batch: WordsBatch) -> dict[str, Tensor]:
        """Return the named losses of a batch; region placeholders are blank, for there is nothing to look at."""
        words = self.language_model.get_input_embeddings()(batch.input_ids)  # (B, L, D)
        embeds = words.masked_fill((batch.input_ids == self.region_id)[..., None], 0.0)
        hidden = self.language_model(inputs_embeds=embeds, attention_mask=batch.attention_mask).last_hidden_state
        said = batch.targets[:, 1:] != -100
        logits = self.lm_head(hidden[:, :-1][said])
        return {"text": words_loss(logits, batch.targets[:, 1:][said], self.fact_ids)}


def fact_token_ids(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return the tokens (F,) that say where, how many, what and how large: places, numbers, kinds, and digits."""
    words = [f" {word}" for word in (*PLACES, *NUMBERS[1:], *DEFECT_KINDS)]
    ids = {token for word in words for token in tokenizer(word, add_special_tokens=False).input_ids}
    digits = {token for text, token in tokenizer.get_vocab().items() if text.lstrip("Ġ").isdecimal()}
    return torch.tensor(sorted(ids | digits))


@torch.no_grad()
def part_facts(embeddings: Tensor, fact_ids: Tensor) -> list[int]:
    """Give facts' words that have come to be one a direction of their own; return the tokens that were moved.

    A word read as another is never learned apart again: what is read (embeddings) is what is said (tied), so "top"
    and "bottom" once merged stayed one through thousands of talks.

    Args:
        embeddings: (V, D), changed in place; lengths stay.
        fact_ids: int64 (F,).
    """
    moved = []
    for at in range(1, len(fact_ids)):
        own, before = fact_ids[at], fact_ids[:at]
        alike = normalize(embeddings[before], dim=1) @ normalize(embeddings[own], dim=0)  # (at,)
        if float(alike.max()) > ALIKE:
            embeddings[own] = normalize(torch.randn_like(embeddings[own]), dim=0) * embeddings[own].norm()
            moved.append(int(own))
    return moved
