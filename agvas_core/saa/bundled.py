"""The bundled AG-VAS model as the proposer, so that SAA+ works without any download: the parts of its mask."""

# h, w: the working grid; K candidates

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from agvas_core.findings import masks_to_canvas
from agvas_core.predictor import AnomalyPredictor
from agvas_core.saa.candidates import ANY_QUERY, Candidate, ObjectRegion, mask_box, work_hw
from agvas_core.saa.expert_words import kind_of
from agvas_core.saa.foreground import find_object
from agvas_core.saa.prompts import HybridPrompts, LanguagePrompts, Variant
from agvas_core.structures import InspectionImage

FLOOR = 0.1  # probability above which a pixel may belong to a candidate, as the detector's box threshold
PEAK_SHARE = 0.5  # a candidate is what lies above this share of its part's peak
MOST_PARTS = 50  # strongest first
ANY_FLAW = "defect"
# The anomaly values at which F1 was best on 160 held-out synthetic images: without saliency, and with it by variant.
HALF_PLAIN, HALF_RESCORED = 0.4, {"paper": 0.7, "code": 0.75}

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


class BundledProposer:
    """Candidates are parts of the model's probability map; words weigh them by the kind that the model sees in each.

    The bundled weights draw the same map whatever kind of defect they are asked for, so the words cannot be left to
    the instruction, as they are with a detector.
    """

    def __init__(self, predictor: AnomalyPredictor) -> None:
        self.predictor = predictor

    def half(self, prompts: HybridPrompts, variant: Variant) -> float:
        """Return the anomaly value that users see as 0.5."""
        if prompts.saliency is not None:
            return HALF_RESCORED[variant]
        return HALF_PLAIN if variant == "paper" else HALF_PLAIN / 2

    def propose(
        self, image: InspectionImage, prompts: HybridPrompts, stopped: Callable[[], bool]
    ) -> tuple[list[Candidate], ObjectRegion]:
        """Return the parts of the map by the default instruction, weighed by the words, and the object if one shows."""
        hw = work_hw(image.size_hw)
        found = parts_of(_shrunk(self.predictor.glance(image).anomaly_map, hw))
        if found and not stopped():
            found = weigh(found, self._kinds(image, found), self._names, prompts.language)
        count = 1 if prompts.property is None else prompts.property.object_count
        return found, ObjectRegion() if prompts.property is None else find_object(image.rgb, hw, count)

    def refine(self, image: InspectionImage, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates as they are: they came with their masks."""
        return list(candidates)

    def features(self, image: InspectionImage) -> Tensor:
        """Return the pixel encoder's three scales at stride 8, (C, h', w'), of the image without the canvas's fill."""
        encoded = self.predictor.set_image(image)
        pixel = encoded.features.pixel
        coarse = pixel.high_res[1] if pixel.high_res else pixel.embedding
        size = (int(coarse.shape[-2]), int(coarse.shape[-1]))
        scales = [
            adaptive_avg_pool2d(f, size) if f.shape[-1] > size[-1] else interpolate(f, size, mode="nearest")
            for f in (*pixel.high_res, pixel.embedding)
        ]
        height, width = encoded.letterbox.content_hw
        rows = max(1, round(height * size[0] / encoded.letterbox.canvas))
        cols = max(1, round(width * size[1] / encoded.letterbox.canvas))
        return torch.cat(scales, dim=1)[0, :, :rows, :cols]

    @property
    def _names(self) -> tuple[str, ...]:
        return self.predictor.model.config.decoder.region_kinds

    @torch.inference_mode()
    def _kinds(self, image: InspectionImage, candidates: Sequence[Candidate]) -> NDArray[np.float32]:
        """Return the probability of each kind of defect, (K, kinds); (K, 0) when the model tells no kinds."""
        model = self.predictor.model
        if model.region_reader is None or model.region_reader.kind_head is None:
            return np.zeros((len(candidates), 0), np.float32)
        encoded = self.predictor.set_image(image)
        box = replace(encoded.letterbox, size_hw=work_hw(image.size_hw))
        masks = masks_to_canvas(torch.from_numpy(np.stack([_mask(c) for c in candidates])), box)
        index = torch.zeros(len(candidates), dtype=torch.int64, device=self.predictor.device)
        _, logits = model.region_tokens(encoded.features.pixel.select(index), masks.to(self.predictor.device))
        assert logits is not None
        return logits.softmax(1).float().cpu().numpy()


def weigh(
    candidates: Sequence[Candidate], kinds: NDArray[np.float32], names: Sequence[str], language: LanguagePrompts
) -> list[Candidate]:
    """Return the candidates with the likeliest kind as their phrase; other kinds than those asked for lose up to half.

    score x (1 + P) / 2, P the probability of the kinds that the words mean. Words for any flaw, or words that mean no
    kind that the model was taught, leave the scores.

    Args:
        candidates: K of them.
        kinds: (K, kinds) probabilities.
        names: of the kinds.
        language: what was asked.
    """
    if not kinds.shape[1]:
        return list(candidates)
    meant = [kind_of(query) for query in language.queries]
    columns = sorted({names.index(kind) for kind in meant if kind in names})
    if any(kind not in names for kind in meant):
        columns = []
    weighed = []
    for c, row in zip(candidates, kinds, strict=True):
        share = float(row[columns].sum()) if columns else 1.0
        query = ANY_QUERY if not columns else ", ".join(names[i] for i in columns)
        likeliest = int(row.argmax())
        named = replace(c, query=query, phrase=names[likeliest], phrase_score=float(row[likeliest]))
        asked = (1 + min(1.0, share)) / 2
        weighed.append(replace(named, score=c.score * asked, asked=asked))
    return weighed


def parts_of(probability: NDArray[np.float32]) -> list[Candidate]:
    """Return the parts of a probability map (h, w) as candidates, strongest first; the score is a part's peak.

    Each 8-connected part above FLOOR is cut at PEAK_SHARE of its own peak, so that weak and strong parts both get an
    outline of their own.
    """
    labels, count = ndimage.label(probability > FLOOR, structure=_EIGHT_CONNECTED)
    if not count:
        return []
    peaks = np.zeros(count + 1, dtype=np.float32)
    np.maximum.at(peaks, labels.ravel(), probability.ravel())
    cut = (labels > 0) & (probability > PEAK_SHARE * peaks[labels])
    parts, count = ndimage.label(cut, structure=_EIGHT_CONNECTED)
    scores = np.asarray(ndimage.maximum(probability, parts, range(1, count + 1)))
    found = []
    for n in np.argsort(-scores, kind="stable")[:MOST_PARTS]:
        mask = parts == n + 1
        score = float(min(1.0, scores[n]))
        found.append(Candidate(mask_box(mask), float(mask.mean()), score, ANY_QUERY, ANY_FLAW, mask))
    return found


def _mask(candidate: Candidate) -> NDArray[np.bool_]:
    assert candidate.mask is not None
    return candidate.mask


def _shrunk(values: NDArray[np.float32], hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map on a grid of another size, areas averaged."""
    if values.shape == hw:
        return values
    return np.asarray(Image.fromarray(np.ascontiguousarray(values)).resize((hw[1], hw[0]), Image.Resampling.BOX))
