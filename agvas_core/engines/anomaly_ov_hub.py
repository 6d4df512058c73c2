"""Anomaly-OV on LLaVA-OneVision from the hub: the released expert looks, the LLM reads its tokens and speaks."""

# K crops of an image (overview first), N = G x G positions, D vision width, W width of the LLM, H x W px of the image

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import (
    AutoTokenizer,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    PreTrainedTokenizerBase,
)
from transformers.models.llava_onevision.modeling_llava_onevision import get_anyres_image_grid_shape, unpad_image

from agvas_core.checkpoint_expert import load_released_expert
from agvas_core.engines.anomaly_ov import AnomalyOVEngine, Look, weights_mb
from agvas_core.engines.kept_reading import KeptReadings
from agvas_core.engines.text_stream import TokenText
from agvas_core.modeling.anomaly_ov import (
    AnomalyExpert,
    ExpertConfig,
    ExpertFeatures,
    arrange_tokens,
    stitch_crops,
    suspicion_phrase,
)
from agvas_core.modeling.lmm import CACHE_NAME
from agvas_core.prompts import IMAGE_TOKEN, ChatTurn, Piece, chat_pieces
from agvas_core.structures import MODES, EngineCard, InspectionImage, Prediction
from agvas_core.tokenizer import encode_pieces

LONG_SIDE_PX = 1024
CHATS_KEPT = 2  # whose read prompts stay: up to 0.5 GB each with the 7B
END_TOKEN = "<|im_end|>"
SELECTED = "<selected>"  # marks the selected tokens' place among the pieces; no tokenizer sees it
PROJECT_PAGE = "https://xujiacong.github.io/Anomaly-OV/"


class HubSeer:
    """LLaVA-OneVision and an expert for its vision tower."""

    def __init__(
        self,
        model: LlavaOnevisionForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: LlavaOnevisionImageProcessorPil,
        expert: AnomalyExpert,
        *,
        device: str = "cpu",
    ) -> None:
        vision = model.config.vision_config
        need, have = expert.config, (vision.hidden_size, vision.image_size // vision.patch_size)
        if (need.width, need.grid) != have or max(need.levels) > vision.num_hidden_layers:
            raise ValueError(
                f"The expert is for a vision tower of width {need.width} and {need.grid} x {need.grid} positions with "
                f"at least {max(need.levels)} layers; this one has width {have[0]}, {have[1]} x {have[1]} and "
                f"{vision.num_hidden_layers} layers."
            )
        self.device = torch.device(device)
        self.model, self.expert = model.to(device).eval(), expert.to(device).eval()  # type: ignore[arg-type]
        self.tokenizer, self.image_processor = tokenizer, image_processor
        self.readings = KeptReadings(model.config.text_config, CHATS_KEPT)
        self.end_id = int(tokenizer.convert_tokens_to_ids(END_TOKEN))
        control = {int(i) for i in tokenizer.added_tokens_decoder} | set(tokenizer.all_special_ids)
        never = (control | set(range(len(tokenizer), model.config.text_config.vocab_size))) - {self.end_id}
        self._never_said = torch.tensor(sorted(never), dtype=torch.int64, device=self.device)

    @torch.inference_mode()
    def look(self, image: InspectionImage) -> Look:
        """Score an image, show where the suspicion lies, and keep what the LLM will read."""
        config, inner = self.model.config, self.model.model
        seen = self.image_processor(Image.fromarray(limited(image.rgb, LONG_SIDE_PX)), return_tensors="pt")
        size_hw = [int(v) for v in seen["image_sizes"][0]]
        crops = seen["pixel_values"][0].to(self.device, self.model.dtype)  # (K, 3, S, S)
        states = inner.vision_tower(crops, output_hidden_states=True).hidden_states
        levels = tuple(states[i].float() for i in self.expert.config.levels)
        output = self.expert(ExpertFeatures(states[-1].float(), levels), [len(crops)])
        grid_hw = get_anyres_image_grid_shape(size_hw, config.image_grid_pinpoints, config.vision_config.image_size)
        packed, _ = inner.pack_image_features(
            [inner.multi_modal_projector(states[-1])],
            [size_hw],
            image_newline=inner.image_newline,
            vision_aspect_ratio=config.vision_aspect_ratio,
        )
        project = inner.multi_modal_projector
        selected = arrange_tokens(
            project(output.global_tokens.to(self.model.dtype))[0],
            project(output.tokens.to(self.model.dtype)),
            grid_hw,
            inner.image_newline,
        )
        saliency = whole_saliency(output.saliency.cpu(), grid_hw, image.size_hw)
        return Look(float(output.logits[0].sigmoid()), saliency, packed[0], selected)

    def embed(self, look: Look, history: Sequence[ChatTurn], question: str) -> Tensor:
        """Return what the LLM reads, (1, L, W): image tokens, suspicion, selected tokens, then the words.

        The oldest exchanges are left out where the model's positions do not reach.
        """
        assert look.image_tokens is not None and look.selected_tokens is not None
        table = self.model.get_input_embeddings()
        parts: list[Tensor] = []
        waiting: list[Piece] = []

        def flush() -> None:
            ids = encode_pieces(self.tokenizer, waiting).input_ids
            if ids:
                parts.append(table(torch.tensor(ids, device=self.device)))
            waiting.clear()

        for piece in prompt_pieces([*history, ChatTurn("user", question)], look.score):
            if piece.special and piece.text in (IMAGE_TOKEN, SELECTED):
                flush()
                parts.append(look.image_tokens if piece.text == IMAGE_TOKEN else look.selected_tokens)
            else:
                waiting.append(piece)
        flush()
        embeds = torch.cat(parts)[None]
        if embeds.shape[1] > self.model.config.text_config.max_position_embeddings and history:
            return self.embed(look, history[2:], question)
        return embeds

    @torch.inference_mode()
    def speak(
        self,
        look: Look,
        prediction: Prediction,
        history: Sequence[ChatTurn],
        question: str,
        max_new_tokens: int,
        stop: threading.Event,
    ) -> Iterator[str]:
        """Yield the LLM's answer token by token, greedily; what an earlier turn has read is not read again."""
        text = TokenText(self.tokenizer)  # type: ignore[arg-type]
        given = [self.embed(look, history, question)[0]]  # (L, W), then (1, W) a token
        start, cache = self.readings.lend(given[0])
        new, whole = given[0][start:], True
        try:
            for _ in range(max_new_tokens):
                if stop.is_set():
                    break
                whole = False
                out = self.model.model.language_model(inputs_embeds=new[None], use_cache=True, **{CACHE_NAME: cache})
                whole = True
                logits = self.model.lm_head(out.last_hidden_state[0, -1]).float()
                token = int(logits.index_fill(0, self._never_said, float("-inf")).argmax())
                if token == self.end_id:
                    break
                new = self.model.get_input_embeddings()(torch.tensor([token], device=self.device))
                given.append(new)
                yield text.push(token)
        finally:
            if whole:  # a pass that failed midway leaves layers of different lengths
                self.readings.keep(torch.cat(given), cache)
        rest = text.finish()
        if rest:
            yield rest


def prompt_pieces(turns: Sequence[ChatTurn], score: float) -> Iterator[Piece]:
    """Yield the chat with the words of suspicion and the selected tokens' place directly after the image's."""
    for piece in chat_pieces(turns, add_generation_prompt=True):
        yield piece
        if piece.special and piece.text == IMAGE_TOKEN:
            yield Piece(suspicion_phrase(score), False, False)
            yield Piece(SELECTED, True, False)


def whole_saliency(maps: Tensor, grid_hw: tuple[int, int], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return one picture (H, W) from the crops' maps (K, G, G): the mean of the overview's and of the stitched ones'.

    The overview is the whole image squeezed to a square; the crops tile it with its sides' ratio kept and a border.
    Paper leaves open: how the maps of several crops are shown as one.
    """
    tiles = unpad_image(stitch_crops(maps[1:], grid_hw)[None], size_hw)  # (1, h, w)
    parts = [maps[:1], tiles] if tiles.numel() else [maps[:1]]  # of a sliver nothing is left
    whole = [interpolate(part[None].float(), size_hw, mode="bilinear", align_corners=False)[0, 0] for part in parts]
    return torch.stack(whole).mean(0).clamp(0, 1).numpy()


def limited(rgb: NDArray[np.uint8], long_side_px: int) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) whose longer side is at most long_side_px, its sides' ratio kept."""
    height, width = rgb.shape[:2]
    scale = long_side_px / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def load_hub(
    source: str,
    expert_path: Path,
    *,
    engine_id: str,
    name: str,
    device: str = "cpu",
    expert_config: ExpertConfig | None = None,
) -> AnomalyOVEngine:
    """Return the engine of a LLaVA-OneVision on the hub (or in a folder) and a released expert.

    Raises FileNotFoundError or ValueError with a sentence when one of them cannot be loaded or does not fit.
    """
    if not expert_path.is_file():
        raise FileNotFoundError(
            f"{name} needs the authors' expert: put {expert_path.name} at {expert_path}, or set "
            f"AGVAS_ANOMALY_OV_EXPERT to its path. See {PROJECT_PAGE} for where it is."
        )
    expert = load_released_expert(expert_path, expert_config)
    model, tokenizer, image_processor = load_llava(source, device)
    seer = HubSeer(model, tokenizer, image_processor, expert, device=device)
    card = EngineCard(
        name=name,
        engine_id=engine_id,
        description="Anomaly-OV: an expert scores the image and hands its suspicious parts to LLaVA-OneVision.",
        licence="Apache-2.0 (LLaVA-OneVision and the expert)",
        weights=f"{source} as published (its LLM was not tuned on anomalies) and the authors' {expert_path.name}",
        trained=True,
        modes=MODES,
        device=device,
        memory_mb=weights_mb((model, expert)),
        heat_map_only=True,
    )
    return AnomalyOVEngine(seer, card)


def load_llava(source: str, device: str) -> tuple[Any, PreTrainedTokenizerBase, LlavaOnevisionImageProcessorPil]:
    """Return model, tokenizer and image processor; bf16 on a GPU; ValueError when weights are missing."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    try:
        model, report = LlavaOnevisionForConditionalGeneration.from_pretrained(
            source, dtype=dtype, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source)
        image_processor = LlavaOnevisionImageProcessorPil.from_pretrained(source)
    except OSError as error:
        raise FileNotFoundError(
            f"{source} could not be loaded: is there a connection to the hub, or is it in its cache?"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(f"{source} lacks weights: {', '.join(missing[:8])}.")
    return model, tokenizer, image_processor
