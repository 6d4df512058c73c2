"""GroundingDINO and SAM as the proposer: boxes by words (paper Eq. 1), then one mask a box (Eq. 2)."""

# Q queries of the detector, T tokens, M boxes

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import (
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    PreTrainedTokenizerBase,
    SamImageProcessorPil,
    SamModel,
)

from agvas_core.saa.candidates import Box, Candidate, ObjectRegion, box_mask, work_hw
from agvas_core.saa.prompts import HybridPrompts, Variant
from agvas_core.saa.wide_resnet import INPUT_PX, WideResNet50
from agvas_core.structures import InspectionImage

BOX_THRESHOLD = 0.1  # a box's score must lie above it, in both passes
TEXT_THRESHOLD = 0.1  # a token belongs to a box's phrase above it
# Paper leaves open: a threshold for users. This is the score from which transformers reports a box by default.
HALF_SCORE = 0.25
MAX_REFINED = 200  # masks that are made of one image, highest scores first; 900 queries a prompt would fill the memory
_BOXES_AT_ONCE = 32


class DetectorProposer:
    """Open-set detection by words, refined to masks."""

    def __init__(
        self,
        detector: GroundingDinoForObjectDetection,
        tokenizer: PreTrainedTokenizerBase,
        detector_images: GroundingDinoImageProcessorPil,
        sam: SamModel,
        sam_images: SamImageProcessorPil,
        *,
        device: str = "cpu",
    ) -> None:
        self.detector, self.sam = detector.to(device).eval(), sam.to(device).eval()
        self.tokenizer, self.detector_images, self.sam_images = tokenizer, detector_images, sam_images
        self.device = torch.device(device)

    def half(self, prompts: HybridPrompts, variant: Variant) -> float:
        """Return the anomaly value that users see as 0.5; the public code halves a lone candidate's score (Eq. 9)."""
        return HALF_SCORE if variant == "paper" else HALF_SCORE / 2

    def propose(
        self, image: InspectionImage, prompts: HybridPrompts, stopped: Callable[[], bool]
    ) -> tuple[list[Candidate], ObjectRegion]:
        """Return the object's pass and one pass a query, concatenated without suppression of overlaps."""
        pixels = self.detector_images(Image.fromarray(np.ascontiguousarray(image.rgb)), return_tensors="pt")
        obj = ObjectRegion()
        language = prompts.language
        if prompts.property is not None and language.object_name:
            found = self._detect(pixels, language.object_name)
            obj = _object(found, prompts.property.object_count, work_hw(image.size_hw))
        candidates: list[Candidate] = []
        for query in language.queries:
            if stopped():
                break
            candidates += self._detect(pixels, query)
        return candidates, obj

    @torch.inference_mode()
    def _detect(self, pixels: dict[str, Tensor], query: str) -> list[Candidate]:
        text = query.strip().lower().rstrip(".") + "."
        tokens = self.tokenizer(text, return_tensors="pt", truncation=True, max_length=self._text_limit())
        out = self.detector(**{k: v.to(self.device) for k, v in {**pixels, **tokens}.items()})
        scores = out.logits[0].float().sigmoid()  # (Q, text length), 0 where padded
        input_ids = tokens["input_ids"][0].tolist()
        boxes = _corners(out.pred_boxes[0].float()).clamp(0, 1).tolist()
        best = scores.max(-1).values
        found = []
        for i in torch.nonzero(best > BOX_THRESHOLD)[:, 0].tolist():
            said = scores[i, : len(input_ids)] > TEXT_THRESHOLD
            inner = [t for t, on in zip(input_ids[1:-1], said[1:-1].tolist(), strict=True) if on]
            phrase = str(self.tokenizer.decode(inner)).replace(".", "").strip()
            x0, y0, x1, y1 = boxes[i]
            area = max(0.0, x1 - x0) * max(0.0, y1 - y0)
            score = float(best[i])
            found.append(Candidate((x0, y0, x1, y1), area, score, query, phrase, phrase_score=score))
        return found

    def _text_limit(self) -> int:
        return int(self.detector.config.max_text_len)

    @torch.inference_mode()
    def refine(self, image: InspectionImage, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates with SAM's mask of each box; those beyond the best MAX_REFINED come back without."""
        ranked = sorted(candidates, key=lambda c: -c.score)
        chosen, rest = ranked[:MAX_REFINED], ranked[MAX_REFINED:]
        if not chosen:
            return []
        inputs = self.sam_images(Image.fromarray(np.ascontiguousarray(image.rgb)), return_tensors="pt")
        embedding = self.sam.get_image_embeddings(inputs["pixel_values"].to(self.device))
        content_hw = tuple(int(v) for v in inputs["reshaped_input_sizes"][0])
        refined = []
        for start in range(0, len(chosen), _BOXES_AT_ONCE):
            part = chosen[start : start + _BOXES_AT_ONCE]
            masks = self._masks(embedding, [c.box for c in part], content_hw, work_hw(image.size_hw))
            refined += [replace(c, mask=mask) for c, mask in zip(part, masks, strict=True)]
        return refined + rest

    def _masks(
        self, embedding: Tensor, boxes: list[Box], content_hw: tuple[int, ...], hw: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Return masks (M, h, w) of boxes given as shares of the image."""
        h, w = content_hw
        scaled = torch.tensor(boxes, device=self.device) * torch.tensor([w, h, w, h], device=self.device)
        out = self.sam(image_embeddings=embedding, input_boxes=scaled[None], multimask_output=False)
        logits = out.pred_masks[0, :, :1].float()  # (M, 1, canvas / 4, canvas / 4)
        canvas = self.sam.config.vision_config.image_size
        logits = interpolate(logits, (canvas, canvas), mode="bilinear", align_corners=False)[..., :h, :w]
        logits = interpolate(logits, hw, mode="bilinear", align_corners=False)[:, 0]
        return (logits > 0).cpu().numpy()


def _corners(boxes: Tensor) -> Tensor:
    """Return left, top, right, bottom from center and size, (..., 4)."""
    cx, cy, w, h = boxes.unbind(-1)
    return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dim=-1)


def _object(found: Sequence[Candidate], count: int, hw: tuple[int, int]) -> ObjectRegion:
    """Return the objects among boxes found by the object's name: smaller than 1 / count of the image each."""
    boxes = [c for c in found if c.area < 1 / count]
    if not boxes:
        return ObjectRegion()
    mask = np.zeros(hw, dtype=bool)
    for c in boxes:
        mask |= box_mask(c.box, hw)
    return ObjectRegion(max(c.area for c in boxes), mask)


@torch.inference_mode()
def wide_resnet_features(model: WideResNet50, image: InspectionImage) -> Tensor:
    """Return (1792, 64, 64) features of an image squeezed to 256 x 256, as the public code does."""
    device = next(model.parameters()).device
    picture = Image.fromarray(np.ascontiguousarray(image.rgb)).resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(picture)).to(device).permute(2, 0, 1)[None].float() / 255
    return model(pixels)[0]
