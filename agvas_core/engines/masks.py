"""The masks of one reply: decoded under what the request asks for, with the kinds of defect of their regions."""

# R findings, H, W the image's own size

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from agvas_core.encoded import EncodedImage, Prefix
from agvas_core.findings import Findings
from agvas_core.good_parts import evenly
from agvas_core.predictor import AnomalyPredictor
from agvas_core.regions import group_labels, make_prediction, smallest_px, with_kinds
from agvas_core.structures import InspectionImage, Prediction, Request

KINDS_ASKED = 12  # regions whose kind of defect is read, largest first
MASK_VALUES = 2**24  # of region masks held at a time, so that a photo of 40 MP does not need gigabytes


class Masks:
    """Makes the masks that one request asks for of one image."""

    def __init__(
        self,
        predictor: AnomalyPredictor,
        image: InspectionImage,
        encoded: EncodedImage,
        request: Request,
        good: Sequence[InspectionImage] = (),
    ) -> None:
        """Take what masks are made of; good: images of good parts, with which this one is compared."""
        self.predictor, self.image, self.encoded, self.request = predictor, image, encoded, request
        self.good, self.bank = tuple(evenly(good)), predictor.memory_bank(good)

    def options(self) -> dict[str, object]:
        """Return threshold, alpha, smallest area and region of interest, as make_prediction takes them."""
        r = self.request
        smallest = smallest_px(r.min_area_px, self.image.size_hw, close=r.close)  # Paper differs: specks are left out
        return {"threshold": r.threshold, "alpha": r.alpha, "min_area_px": smallest, "roi_xyxy": r.roi_xyxy}

    def decode(self, prefix: Prefix) -> Prediction:
        """Return the mask of the last anchors that were read, with its regions' kinds."""
        return self.named(self.predictor.decode(prefix, self.encoded, bank=self.bank, **self.options()))

    def decode_states(self, states: torch.Tensor) -> Prediction:
        """Return the mask of anchor states (1, 3, D), with its regions' kinds."""
        return self.named(self.predictor.decode_states(states, self.encoded, bank=self.bank, **self.options()))

    def glance(self) -> Prediction:
        """Return what is marked when all anomalies are asked for, with no options of the request."""
        return self.predictor.glance(self.image, close=self.request.close, good=self.good)

    def everything(self) -> Prediction:
        """Return what is marked when all anomalies are asked for, with its regions' kinds."""
        return self.named(self.adjust(self.glance()))

    def adjust(self, glance: Prediction) -> Prediction:
        """Return a glance under the request's options."""
        maps = {"p_seg": glance.p_seg, "p_nor": glance.p_nor, "p_ano": glance.p_ano}
        return make_prediction(image_id=glance.image_id, **maps, **self.options())  # type: ignore[arg-type]

    def named(self, prediction: Prediction) -> Prediction:
        """Return the prediction with the kinds of defect of its largest regions; the encoder does not run again.

        Parts of one finding are of one kind, the one that the words read.
        """
        regions = prediction.regions[:KINDS_ASKED]
        if not regions or not self.predictor.model.config.decoder.region_kinds:
            return prediction
        findings = group_labels(prediction.pred_mask)  # (H, W)
        asked = sorted({region.finding for region in regions})
        step = max(1, MASK_VALUES // findings.size)
        kinds: list[tuple[str, float]] = []
        for start in range(0, len(asked), step):
            numbers = np.array(asked[start : start + step])
            masks = torch.from_numpy(findings[None] == numbers[:, None, None])  # (R, H, W)
            kinds += self.predictor.region_kinds(self.encoded, masks)
        if not kinds:
            return prediction
        kind_of = dict(zip(asked, kinds, strict=True))
        return with_kinds(prediction, [kind_of[region.finding] for region in regions])

    def kinds_to_read(self, findings: Findings) -> list[str] | None:
        """Return the kinds of the listed findings, where the words are made to read them."""
        if not self.predictor.model.config.decoder.measured_kinds:
            return None
        return [kind for kind, _ in self.predictor.region_kinds(self.encoded, findings.masks)]
