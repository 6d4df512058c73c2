"""The turns that are measured: the naive path, and ours on a new and on a seen image, all on the same inputs."""

from __future__ import annotations

import copy
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from serving_parts.stages import StageClock, size_of, watched
from torch import Tensor
from transformers import DynamicCache

from agvas_core.anchors import find_anchors, gather_anchor_states
from agvas_core.engines.agvas import AGVASEngine
from agvas_core.engines.ask import Reply, ask
from agvas_core.engines.masks import Masks
from agvas_core.findings import masks_to_canvas
from agvas_core.modeling.pixel_features import PixelFeatures
from agvas_core.outlines import outline
from agvas_core.predictor import AnomalyPredictor
from agvas_core.processing import Letterbox, open_image, restore
from agvas_core.prompts import ChatTurn
from agvas_core.regions import group_labels, make_prediction, speck_px, without_weak_parts
from agvas_core.structures import InspectionImage, Prediction, Request
from agvas_core.tokenizer import encode_chat
from agvas_core.views import joined_by_size
from demo.render import SHOWN_KINDS, write_reply_files


def question(number: int) -> str:
    """Return a direct question that was not asked before."""
    return f"Please segment the anomalies in this image, try{number}."  # "number 2" would ask for a region


def photo_bytes(example: Path, side_px: int, number: int) -> bytes:
    """Return an example photo at a size as a JPEG file; every number gives another picture."""
    photo = Image.open(example).convert("RGB").resize((side_px, side_px), Image.Resampling.BICUBIC)
    pixels = np.array(photo)
    patch = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    pixels[:64, :64] = patch.repeat(8, 0).repeat(8, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def forbid_the_end(predictor: AnomalyPredictor) -> None:
    """Let replies be as long as they may, without a second mask, so that all are equally long."""
    more = torch.tensor([predictor.end_id, predictor.ids.anchors[0]], device=predictor.device)
    predictor._never_said = torch.cat([predictor._never_said, more])


class Bench:
    """One engine, measured by stage.

    threshold: of the masks; 1 with random weights, whose maps are noise.
    """

    def __init__(self, engine: AGVASEngine, *, threshold: float, naive_dtype: torch.dtype = torch.float32) -> None:
        self.engine, self.predictor, self.model = engine, engine.predictor, engine.predictor.model
        self.clock = StageClock(self.predictor.device)
        self.threshold = threshold
        self.folder = Path(tempfile.mkdtemp(prefix="agvas-bench-"))
        encoder = self.model.pixel_encoder
        same = next(encoder.parameters()).dtype == naive_dtype
        self.serves_half = getattr(encoder, "serves_half", False)  # the bundled one, on a processor that has bfloat16
        if same and not self.serves_half:
            self.naive_encoder = encoder
        else:  # training, and back: the copy for serving in bfloat16 is let go
            self.naive_encoder = copy.deepcopy(encoder).to(naive_dtype).train().eval()
        self.naive_dtype = naive_dtype
        self._watch()

    def _watch(self) -> None:
        """Put the clock around the parts of the model and of the predictor."""
        model, clock, predictor = self.model, self.clock, self.predictor
        tower = torch.nn.ModuleList([model.lmm.model.vision_tower, model.lmm.model.multi_modal_projector])
        decoder = torch.nn.ModuleList([model.token_refiner, model.agmd])
        model.encode_semantic = watched(clock, model.encode_semantic, "semantic encoder", tower)
        for encoder in {id(e): e for e in (model.pixel_encoder, self.naive_encoder)}.values():
            encoder.forward = watched(clock, encoder.forward, "pixel encoder", encoder)
        if model.spam is not None:
            model.spam.forward = watched(clock, model.spam.forward, "SPAM", model.spam)
        model.language = watched(clock, model.language, None, model.lmm.model.language_model)
        model.decode_masks = watched(clock, model.decode_masks, "AGMD", decoder)
        model.semantic_input = watched(clock, model.semantic_input, "preprocess", None)
        for name, stage in (("_fit", "preprocess"), ("_pixels", "preprocess"), ("_read", "prefill")):
            setattr(predictor, name, watched(clock, getattr(predictor, name), stage, None))
        predictor._speak = watched(clock, predictor._speak, "decode", None)
        self._finish = Masks.decode

        def finish(masks: Masks, prefix: object) -> Prediction:
            with self.clock.stage("restore"):
                prediction = self._finish(masks, prefix)  # type: ignore[arg-type]
                self.clock.move(size_of(prediction))
            return prediction

        Masks.decode = finish  # type: ignore[method-assign]

    def close(self) -> None:
        """Take the clock off what others use, too."""
        Masks.decode = self._finish  # type: ignore[method-assign]

    def open(self, data: bytes) -> InspectionImage:
        """Decode an image file."""
        with self.clock.stage("decode image"):
            image = open_image(data)
            self.clock.move(len(data) + image.rgb.nbytes)
        return image

    def render(self, image: InspectionImage, prediction: Prediction) -> None:
        """Write what the page shows of a mask."""
        with self.clock.stage("render"):
            write_reply_files(
                image, prediction, {}, None, lambda kind, suffix: self.folder / f"{kind}{suffix}", SHOWN_KINDS
            )
            self.clock.move(size_of((image.rgb, prediction.anomaly_map, prediction.pred_mask)))

    # --- ours --------------------------------------------------------------------------------------------------------

    def new(self, data: bytes, question: str) -> Prediction:
        """Answer a direct turn on a file that was never seen."""
        return self.seen(self.open(data), question)

    def seen(self, image: InspectionImage, question: str) -> Prediction:
        """Answer a direct turn on an image."""
        prediction = self.ask(image, question).prediction
        assert prediction is not None
        self.render(image, prediction)
        return prediction

    def ask(self, image: InspectionImage, question: str, mode: str = "direct", words: int = 0, **on: Callable) -> Reply:
        """Answer a turn; words: so many, whatever the model would like."""
        request = Request(question, mode=mode, threshold=self.threshold, max_new_tokens=words or 1)  # type: ignore[arg-type]
        never_said = self.predictor._never_said
        if words:
            forbid_the_end(self.predictor)
        try:
            return ask(self.engine, image, request, **on)
        finally:
            self.predictor._never_said = never_said

    # --- naive -------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def naive(self, data: bytes, question: str, *, cache: bool = False) -> Prediction:
        """Answer a direct turn as a plain port would: all anew, the fixed answer token by token.

        cache: keep keys and values within the reply; otherwise every token reads everything again.
        """
        image, model = self.open(data), self.model
        rgb, letterbox = self.predictor._fit(image)
        pixels = self.predictor._pixels([rgb])
        f_s = model.encode_semantic(model.semantic_input(pixels))
        seen = self.naive_encoder(pixels.to(self.naive_dtype), [letterbox.content_hw])
        again = self.predictor._look_again(image)
        features = model.align(f_s, seen)
        ids = self.predictor.direct_ids(question)
        asked = self.predictor.expand(
            encode_chat(self.predictor.tokenizer, [ChatTurn("user", question)], True).input_ids
        )
        kept = DynamicCache(config=model.lmm.config.text_config) if cache else None
        hidden = self._loop(ids, len(asked), features.visual, kept)
        anchors = find_anchors(torch.tensor([ids], device=hidden.device), self.predictor.ids.anchors)
        with self.clock.stage("restore"):
            states = gather_anchor_states(hidden, anchors[-1:])
            maps = restore(torch.cat(model.decode_masks(states, seen).probabilities()), letterbox)  # (3, H, W)
            looks = [(letterbox.canvas, maps[[0, 2]])]
            looks += [(glimpse.letterbox.canvas, self.predictor._maps_of(states, glimpse)) for glimpse in again]
            joined = outline(joined_by_size(looks).clip(0, 1), image.rgb, model.config.serving_outline)
            p_seg, p_ano = without_weak_parts(joined, model.config.serving_peak)
            prediction = make_prediction(
                image_id=image.image_id,
                p_seg=p_seg,
                p_nor=1 - p_ano,
                p_ano=p_ano,
                threshold=self.threshold,
                min_area_px=speck_px(image.size_hw),
            )
            self._read_kinds(prediction, seen, letterbox)
            self.clock.move(size_of(prediction))
        self.render(image, prediction)
        return prediction

    def _read_kinds(self, prediction: Prediction, seen: PixelFeatures, letterbox: Letterbox) -> None:
        """Read what kind each finding is: a reply of ours says it, so the naive path's has to know it, too."""
        findings = group_labels(prediction.pred_mask)  # (H, W)
        numbers = np.arange(1, findings.max() + 1)
        if len(numbers) and self.model.config.decoder.region_kinds:
            masks = torch.from_numpy(findings[None] == numbers[:, None, None])  # (R, H, W)
            self.model.region_tokens(seen, masks_to_canvas(masks, letterbox).to(seen.embedding.device))

    def _loop(self, ids: list[int], asked: int, visual: Tensor, cache: DynamicCache | None) -> Tensor:
        """Return the states (1, L, D) of a chat whose answer, from token `asked` on, is decoded one by one."""
        states: list[Tensor] = []
        for end in range(asked, len(ids) + 1):
            start = sum(s.shape[1] for s in states) if cache is not None else 0
            with self.clock.stage("prefill" if end == asked else "decode"):
                fresh = torch.tensor([ids[start:end]], device=visual.device)
                embeds = self.model.embed(fresh, visual if start == 0 else None)
                hidden = self.model.language(embeds, cache=cache)
                self.model.word_logits(hidden[:, -1]).argmax(-1).item()  # what a token loop waits for
            states = [*states, hidden] if cache is not None else [hidden]
        return torch.cat(states, dim=1)
