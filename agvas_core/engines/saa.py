"""SAA and SAA+ as engines: the user's sentence sets the hybrid prompts, the reply tells the fate of every candidate."""

# H, W: the image's own size; h, w: the working grid

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agvas_core.engines.dialogue import read_well
from agvas_core.engines.judged import without_comparing
from agvas_core.engines.own_words import NO_IMAGE
from agvas_core.engines.ruled import image_sizes, names_length, regions_rules, rules_of
from agvas_core.good_parts import read_judgement
from agvas_core.memory import peak_memory_mb
from agvas_core.regions import make_prediction, region_labels, smallest_px, with_kinds
from agvas_core.saa import report
from agvas_core.saa.candidates import ANY_QUERY, Proposer, box_mask, work_hw
from agvas_core.saa.confidence import anomaly_map, to_probability
from agvas_core.saa.pipeline import Regularised, run
from agvas_core.saa.prompts import HybridPrompts, Variant, naive_prompts, prompts_for, with_variant
from agvas_core.saa.saliency import mean_saliency, saliency_factor, saliency_map, saliency_on_grid
from agvas_core.saa.sentence import read_sentence, wants_nothing_known
from agvas_core.scale import read_scale
from agvas_core.structures import (
    Conversation,
    Done,
    EngineCard,
    Event,
    InspectionImage,
    MaskReady,
    Mode,
    Notice,
    Prediction,
    Request,
    Stage,
    TextDelta,
    Verdict,
)

MODES: tuple[Mode, ...] = ("auto", "direct", "explain")
SALIENCIES_KEPT = 6
LIKELY = 0.75  # what candidates keep of their scores that are as likely as not what is asked for
_DASHED = " Dashed boxes with a letter are candidates that are not in the mask."


class SAAEngine:
    """Answers with regularised candidates of any proposer."""

    def __init__(
        self,
        proposer: Proposer,
        features: Callable[[InspectionImage], Tensor],
        card: EngineCard,
        *,
        plus: bool = True,
        variant: Variant = "paper",
    ) -> None:
        """Features gives an image's (C, h', w'), for the saliency prompt; plus=False is SAA: one word, no rules."""
        self.proposer, self.features = proposer, features
        self.plus, self.variant = plus, variant
        self._card = card
        self._saliencies: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def card(self) -> EngineCard:
        """Who answers."""
        return self._card

    def prepare(self, image: InspectionImage) -> None:
        """Compute the saliency ahead of the first question; SAA needs nothing ahead."""
        if self.plus:
            saliency = self.prompts_of(Conversation(), Request("", image.image_id)).saliency
            assert saliency is not None
            self.saliency_of(image, saliency.neighbours)

    def prompts_of(self, conversation: Conversation, request: Request) -> HybridPrompts:
        """Return the prompts that the user's sentences about the image have set so far, the newest last."""
        prompts = self._read(conversation, request)
        if self.plus:
            return with_variant(prompts, self.variant)
        naive, language = naive_prompts(), prompts.language
        if language.class_agnostic:  # nothing in particular was asked for
            return naive
        asked = replace(naive.language, class_agnostic=(), class_specific=language.class_specific)
        return replace(naive, language=asked)

    def _read(self, conversation: Conversation, request: Request) -> HybridPrompts:
        before = rules_of(conversation, request)
        asked = read_judgement(request.instruction).rest
        return read_sentence(asked, before, *image_sizes(conversation, request))

    def _not_followed(self, conversation: Conversation, request: Request) -> str:
        """Return what of the newest sentence sets no rule, and why; "" when all is well."""
        before, prompts = rules_of(conversation, request), self._read(conversation, request)
        if not self.plus and regions_rules(prompts) != regions_rules(prompts_for()):
            return report.NO_RULES
        if names_length(conversation, request):
            return report.NO_AREA
        _, said = read_scale(request.instruction, conversation.images[request.image_id or ""])
        return report.NOTHING_READ if prompts == before and wants_nothing_known(said) else ""

    def saliency_of(self, image: InspectionImage, neighbours: int) -> NDArray[np.float32]:
        """Return s of Eq. 5 on the working grid, kept for the last images."""
        key = (image.image_id, neighbours)
        with self._lock:
            cells = self._saliencies.get(key)
        if cells is None:
            cells = saliency_map(self.features(image), neighbours, self.variant)
            with self._lock:
                self._saliencies[key] = cells
                while len(self._saliencies) > SALIENCIES_KEPT:
                    self._saliencies.popitem(last=False)
        return saliency_on_grid(cells, work_hw(image.size_hw))

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the events of one reply; see engines.base. Any mode but "direct" is answered as "explain"."""
        stop = stop or threading.Event()
        seconds: dict[str, float] = {}
        mode: Mode = "direct" if request.mode == "direct" else "explain"
        conversation, request, read_as = read_well(conversation, request)
        image = conversation.images.get(request.image_id or "")
        if image is None:
            yield Notice(NO_IMAGE)
            yield Done(mode, seconds)
            return
        alone = without_comparing(conversation, request, self._card)
        if alone is not None:
            yield alone
        if isinstance(alone, TextDelta):
            yield Done(mode, seconds)
            return
        if read_as:
            yield Notice(read_as)
        prompts = self.prompts_of(conversation, request)
        stages = run(image, self.proposer, self.saliency_of, prompts, self.variant, stop.is_set)
        found = yield from _timed(stages, seconds)
        if not stop.is_set():
            begun = time.perf_counter()
            prediction = self.prediction_of(image, found, prompts, request)
            seconds["mask"] = time.perf_counter() - begun
            yield MaskReady(prediction)
            yield TextDelta(self._words(found, prompts, prediction, mode))
            if not_followed := self._not_followed(conversation, request):
                yield Notice(not_followed)
        device = torch.device(self._card.device)
        yield Done(mode, seconds, 0, peak_memory_mb(device), stop.is_set())

    def prediction_of(
        self, image: InspectionImage, found: Regularised, prompts: HybridPrompts, request: Request
    ) -> Prediction:
        """Return the outcome as a Prediction: p_seg and p_ano are both A, brought to [0, 1).

        An empty mask has the verdict "other" where it would not be empty without the rules, or by other words.
        """
        half = self.proposer.half(prompts, self.variant)
        prediction = _prediction(image, to_probability(found.anomaly_map, half), request)
        if not prediction.regions and (found.left_out or _outweighed(found)):
            whole = to_probability(self._unruled_map(image, found, prompts), half)
            verdict: Verdict = "other" if _prediction(image, whole, request).regions else "normal"
            prediction = replace(prediction, verdict=verdict)
        best: dict[int, tuple[int, str, float]] = {}  # region -> pixels shared, phrase, how sure
        for judgement, shares in zip(found.kept, _shared_pixels(found, prediction), strict=True):
            c = judgement.candidate
            for region, pixels in shares.items():
                if pixels > best.get(region, (0, "", 0.0))[0]:
                    best[region] = (pixels, c.phrase, min(1.0, c.phrase_score))
        named = with_kinds(prediction, [best.get(r.index, (0, "", 0.0))[1:] for r in prediction.regions])
        return replace(named, candidates=report.marks(found.judgements, image.size_hw))

    def _unruled_map(self, image: InspectionImage, found: Regularised, prompts: HybridPrompts) -> NDArray[np.float32]:
        """Return A (h, w) as it would be for any flaw, with what the rules left out; boxes where none was outlined."""
        hw = work_hw(image.size_hw)
        saliency = self.saliency_of(image, prompts.saliency.neighbours) if prompts.saliency is not None else None
        masks, scores = [], []
        for j in (*found.kept, *found.left_out):
            mask = box_mask(j.candidate.box, hw) if j.candidate.mask is None else j.candidate.mask
            if not mask.any():
                continue
            score = j.score / j.candidate.asked
            if saliency is not None and j.saliency is None:  # it was dropped before it was rescored
                score *= saliency_factor(mean_saliency(saliency, mask), self.variant)
            masks.append(mask)
            scores.append(score)
        return anomaly_map(masks, scores, hw, self.variant)

    def _words(self, found: Regularised, prompts: HybridPrompts, prediction: Prediction, mode: Mode) -> str:
        other = report.NOT_ASKED_FOR if _outweighed(found) else report.ALL_DROPPED
        verdict = {"normal": "No anomaly found. ", "other": f"{other} ", "anomaly": ""}[prediction.verdict]
        shared = _shared_pixels(found, prediction)
        unlike = {n for j, s in zip(found.kept, shared, strict=True) if j.candidate.asked < LIKELY for n in s}
        counted = report.count_sentence(found.judgements) + report.unlike_sentence(sorted(unlike))
        if mode == "direct":
            return verdict + counted
        shown = [", ".join(str(n) for n in sorted(s)) for s in shared]
        none = [""] * (len(found.judgements) - len(shown))
        below = [not regions for regions in shown] + [False] * len(none)
        sentences = [report.rules_sentence(prompts), report.object_sentence(found.obj, prompts)]
        if not prompts.language.class_agnostic and any(j.candidate.query == ANY_QUERY for j in found.judgements):
            sentences.insert(1, report.ANY_COUNTS)
        text = " ".join([verdict + counted, *(s for s in sentences if s)])
        if not found.judgements:
            return text
        table = report.table(found.judgements, [*shown, *none], below)
        return f"{text}{_DASHED if any(not s for s in [*shown, *none]) else ''}\n\n{table}"


def _outweighed(found: Regularised) -> bool:
    """Return whether something would count for more if other words were used."""
    return any(j.candidate.asked < 1 for j in found.kept)


def _prediction(image: InspectionImage, values: NDArray[np.float32], request: Request) -> Prediction:
    """Return the mask of probabilities (h, w) on the working grid."""
    p = _grown(values, image.size_hw)
    return make_prediction(
        image_id=image.image_id,
        p_seg=p,
        p_nor=1 - p,
        p_ano=p,
        threshold=request.threshold,
        alpha=request.alpha,
        min_area_px=smallest_px(request.min_area_px, image.size_hw),  # Paper differs: specks are left out
        roi_xyxy=request.roi_xyxy,
    )


def _timed(
    stages: Generator[Stage, None, Regularised], seconds: dict[str, float]
) -> Generator[Stage, None, Regularised]:
    """Pass the stages on, note the seconds of each, and return their outcome."""
    name, begun = "", time.perf_counter()
    while True:
        try:
            stage: Stage | None = next(stages)
        except StopIteration as end:
            stage, outcome = None, end.value
        now = time.perf_counter()
        if name:
            seconds[name] = now - begun
        if stage is None:
            return outcome
        name, begun = stage.name, now
        yield stage


def _shared_pixels(found: Regularised, prediction: Prediction) -> list[dict[int, int]]:
    """Return for each kept candidate the regions of the mask that it shares pixels with: region -> pixels."""
    labels = region_labels(prediction.pred_mask)
    shared = []
    for j in found.kept:
        assert j.candidate.mask is not None
        inside = labels[_grown(j.candidate.mask, prediction.size_hw)]
        numbers, pixels = np.unique(inside[inside > 0], return_counts=True)
        shared.append(dict(zip(numbers.tolist(), pixels.tolist(), strict=True)))
    return shared


def _grown(values: NDArray, size_hw: tuple[int, int]) -> NDArray:
    """Return values of the working grid at the image's own size, nearest cell."""
    (h, w), (height, width) = values.shape, size_hw
    if (h, w) == (height, width):
        return values
    rows, cols = np.arange(height) * h // height, np.arange(width) * w // width
    return values[rows[:, None], cols[None]]
