"""The values that travel through the house: images, predictions, turns, requests and events, all immutable."""

# H, W: the uploaded image's own size; every map and mask in a Prediction has it.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["auto", "direct", "describe", "describe_plus", "explain", "chat"]
MODES: tuple[Mode, ...] = ("auto", "direct", "describe", "describe_plus", "explain", "chat")
Verdict = Literal["anomaly", "normal", "other"]


@dataclass(frozen=True, eq=False)
class InspectionImage:
    """One uploaded picture, already turned upright and converted.

    Attributes:
        image_id: hash of the pixels; equal pictures share it, so that caches can be keyed by it.
        rgb: uint8 (H, W, 3).
        name: the file's name as the user knows it, for display only.
    """

    image_id: str
    rgb: NDArray[np.uint8]
    name: str = "image"

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.rgb.shape[0]), int(self.rgb.shape[1])


@dataclass(frozen=True)
class Region:
    """One connected part of a predicted mask.

    Attributes:
        index: 1-based number, largest region first; the number drawn on the overlay.
        box_xyxy: left, top, right, bottom in px, right and bottom exclusive.
        area_px: number of pixels.
        area_percent: share of the whole image, 0 to 100.
        centroid_yx: mean row and column in px.
        place: where it lies, in words ("upper left", "center", ...; see regions.PLACES).
        score: highest anomaly probability inside, 0 to 1.
        kind: the likeliest kind of defect under it ("scratch"), "" when the engine cannot tell.
        kind_score: probability of that kind, 0 to 1.
        finding: 1-based number of the finding it is part of, largest first: regions that lie close together are one, as
            pieces of a broken line are, and the words speak of findings.
    """

    index: int
    box_xyxy: tuple[int, int, int, int]
    area_px: int
    area_percent: float
    centroid_yx: tuple[float, float]
    place: str
    score: float
    kind: str = ""
    kind_score: float = 0.0
    finding: int = 0


@dataclass(frozen=True)
class JudgedCandidate:
    """A place that an engine's rules kept or dropped.

    Attributes:
        label: its letter in the picture and in the reply, "A" first.
        name: what it answers to ("crack"), "" when nothing was said.
        box_xyxy: left, top, right, bottom in px; right and bottom exclusive.
        kept: whether it is in the maps; it is in the mask only where these lie above the threshold.
        why: which rule kept or dropped it, one clause.
        score: by which it was ranked, not bounded by 1.
    """

    label: str
    name: str
    box_xyxy: tuple[int, int, int, int]
    kept: bool
    why: str
    score: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one segmentation says about one image; made by regions.make_prediction.

    The three probability maps are kept, so that another threshold or alpha needs no model run
    (regions.rethreshold returns a new Prediction).

    Attributes:
        image_id: which image.
        size_hw: its height and width in px.
        p_seg: float32 (H, W) in [0, 1], the absolute anchor's map (paper Eq. 6).
        p_nor: float32 (H, W) in [0, 1], the normal anchor's map (Eq. 7).
        p_ano: float32 (H, W) in [0, 1], the anomaly anchor's map (Eq. 7).
        anomaly_map: float32 (H, W) in [0, 1], alpha * p_seg + (1 - alpha) * p_ano (Eq. 8).
        pred_mask: bool (H, W), anomaly_map > threshold, parts smaller than min_area_px removed.
        threshold: 0 to 1.
        alpha: 0 to 1.
        min_area_px: smallest region that is kept.
        pred_score: highest value of anomaly_map (inside roi), 0 to 1.
        regions: the connected parts of pred_mask, largest first.
        verdict: "anomaly" when pred_mask has a pixel, else "normal"; "other" when it is empty only because the words
            ask for another kind of defect than was found (see engines.referring), or their rules drop all of it.
        roi_xyxy: region of interest in px outside which the mask is empty, or None.
        candidates: what was judged by rules, with its fate; () from an engine without rules.
        image_score: how likely the whole image is anomalous, 0 to 1, where more than the map judges that; None
            elsewhere, and pred_score says it.
    """

    image_id: str
    size_hw: tuple[int, int]
    p_seg: NDArray[np.float32]
    p_nor: NDArray[np.float32]
    p_ano: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    pred_mask: NDArray[np.bool_]
    threshold: float
    alpha: float
    min_area_px: int
    pred_score: float
    regions: tuple[Region, ...]
    verdict: Verdict
    roi_xyxy: tuple[int, int, int, int] | None = None
    candidates: tuple[JudgedCandidate, ...] = ()
    image_score: float | None = None


@dataclass(frozen=True, eq=False)
class Turn:
    """One message of a conversation.

    Attributes:
        role: who speaks.
        text: what the message says, plain text without anchor tokens.
        image_id: the image that the message is about, or None.
        mode: the mode in which an assistant's turn was answered, else None.
        prediction: the mask that an assistant's turn shows, or None.
    """

    role: Literal["user", "assistant"]
    text: str
    image_id: str | None = None
    mode: Mode | None = None
    prediction: Prediction | None = None


@dataclass(frozen=True, eq=False)
class Conversation:
    """The finished turns so far and the images they talk about; the new question is in the Request."""

    turns: tuple[Turn, ...] = ()
    images: Mapping[str, InspectionImage] = field(default_factory=dict)

    def with_image(self, *images: InspectionImage) -> Conversation:
        """Return a conversation that also knows the image, or several."""
        return Conversation(self.turns, {**self.images, **{image.image_id: image for image in images}})

    def with_turn(self, turn: Turn) -> Conversation:
        """Return a conversation with one more turn at its end."""
        return Conversation((*self.turns, turn), self.images)


@dataclass(frozen=True)
class Request:
    """What the user wants next.

    Attributes:
        instruction: the user's words, as typed (engines make them safe).
        image_id: the current image, a key of Conversation.images, or None.
        mode: how to answer; "auto" lets the engine choose by the words.
        normal_description: one sentence about what normal looks like (describe_plus).
        roi_xyxy: region of interest in px, or None for the whole image.
        threshold: mask = anomaly_map > threshold.
        alpha: weight of the absolute anchor's map in the fusion (Eq. 8).
        min_area_px: regions below it are dropped; None or more than 0 lets an engine drop specks that it cannot see
            surely, too (see regions.smallest_px); 0 keeps every pixel.
        max_new_tokens: bound on the generated words.
        close: look at the image in tiles at its own resolution, too: slower, for tiny defects on large images.
        mm_per_px: millimeters a pixel, where they are known; a scale that the words say goes before it.
        good_ids: images of good parts, keys of Conversation.images, with which the current one is compared, beside
            those that the conversation calls good (see good_parts).
    """

    instruction: str
    image_id: str | None = None
    mode: Mode = "auto"
    normal_description: str = ""
    roi_xyxy: tuple[int, int, int, int] | None = None
    threshold: float = 0.5
    alpha: float = 0.5
    min_area_px: int | None = None
    max_new_tokens: int = 160
    close: bool = False
    mm_per_px: float | None = None
    good_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """Progress: the name of what is being computed now and the share done, 0 to 1."""

    name: str
    fraction: float


@dataclass(frozen=True, eq=False)
class MaskReady:
    """A mask to show now."""

    prediction: Prediction


@dataclass(frozen=True)
class TextDelta:
    """More words of the reply, to be appended."""

    text: str


@dataclass(frozen=True)
class Notice:
    """A sentence from the engine itself, not from the model: no image yet, anchors had to be added, stopped."""

    text: str


@dataclass(frozen=True)
class Done:
    """The end of a reply.

    Attributes:
        mode: the mode that was used (never "auto").
        seconds: wall seconds per stage, in the order of the stages.
        tokens: generated text tokens.
        peak_memory_mb: peak memory of the process (CPU) or of the device (GPU), MB.
        stopped: True when the user stopped the reply.
    """

    mode: Mode
    seconds: Mapping[str, float]
    tokens: int = 0
    peak_memory_mb: float = 0.0
    stopped: bool = False


Event = Stage | MaskReady | TextDelta | Notice | Done


@dataclass(frozen=True)
class EngineCard:
    """Who answers: shown on the page, in the command line and in every JSON.

    Attributes:
        name: short name ("AG-VAS nano").
        engine_id: the name by which load_engine finds it ("agvas-nano").
        description: one or two sentences.
        licence: licence of code and weights.
        weights: what the weights were trained on, or "UNTRAINED (random weights)".
        trained: False when the weights are random; then no mask is drawn as if it meant something.
        modes: the modes it can answer in.
        device: "cpu" or "cuda:0".
        memory_mb: memory of the weights, MB.
        markdown: the whole model card, markdown.
        weights_hash: what tells these weights and their config from all others, "" when the engine cannot say.
        heat_map_only: its map only shows where it looked, so no mask, region or area is told or written of it.
    """

    name: str
    engine_id: str
    description: str
    licence: str
    weights: str
    trained: bool
    modes: tuple[Mode, ...]
    device: str
    memory_mb: float
    markdown: str = ""
    weights_hash: str = ""
    heat_map_only: bool = False
