"""How a question and its answer travel between machines: JSON and plain arrays, nothing that could be executed."""

# A frame: 4 bytes that hold the header's length, the header (JSON), then the bytes of the arrays that it lists.

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agvas_core.good_parts import good_images
from agvas_core.structures import (
    Conversation,
    Done,
    EngineCard,
    Event,
    InspectionImage,
    JudgedCandidate,
    MaskReady,
    Notice,
    Prediction,
    Region,
    Request,
    Stage,
    TextDelta,
    Turn,
)

Arrays = Mapping[str, NDArray[Any]]
MAX_HEADER, MAX_ARRAYS = 2**24, 2**32  # bytes of one frame; a photo of 40 MP with its maps takes 0.7 GB
_LENGTH = 4
_DTYPES = {"uint8": np.uint8, "float32": np.float32, "bool": np.bool_}
_MAPS = ("p_seg", "p_nor", "p_ano", "anomaly_map", "pred_mask")
_EVENTS: dict[str, type] = {"stage": Stage, "words": TextDelta, "notice": Notice, "done": Done}
_KINDS = {cls: kind for kind, cls in _EVENTS.items()}
SIGN_OF_LIFE, FAILED = "alive", "failed"


class WireError(ValueError):
    """What came is not what this version writes; the message says what."""


# --- frames ---


def pack(header: Mapping[str, object], arrays: Arrays | None = None) -> list[bytes | memoryview]:
    """Return a frame as pieces to be sent one after the other."""
    flat = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.name, list(array.shape)] for name, array in flat.items()]
    text = json.dumps({**header, "arrays": listed}).encode()
    pieces = [array.reshape(-1).view(np.uint8).data for array in flat.values()]
    return [len(text).to_bytes(_LENGTH, "big") + text, *pieces]


class FrameReader:
    """Takes bytes as they come, and gives whole frames."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._header: dict[str, Any] | None = None
        self._wanted = _LENGTH

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
        """Yield the frames that are complete now, each as its header and its arrays.

        Raises:
            WireError: when it is no such frame, or one above the limits.
        """
        self._held += data
        while len(self._held) >= self._wanted:
            if self._header is not None:
                header, self._header = self._header, None
                arrays = self._arrays(header.pop("arrays"))
                self._wanted = _LENGTH
                yield header, arrays
                continue
            length = int.from_bytes(self._held[:_LENGTH], "big")
            if length > MAX_HEADER:
                raise WireError(f"A header of {length:,} bytes is too long.")
            self._wanted = _LENGTH + length
            if len(self._held) < self._wanted:
                return
            self._header = _read_header(bytes(self._take(self._wanted)[_LENGTH:]))
            self._wanted = sum(_bytes_of(*array) for array in self._header["arrays"])
            if self._wanted > MAX_ARRAYS:
                raise WireError(f"Arrays of {self._wanted:,} bytes are too much.")

    def _take(self, count: int) -> bytearray:
        taken = self._held[:count]
        del self._held[:count]
        return taken

    def _arrays(self, listed: list[Any]) -> dict[str, NDArray[Any]]:
        return {
            name: np.frombuffer(self._take(_bytes_of(name, dtype, shape)), _DTYPES[dtype]).reshape(shape)
            for name, dtype, shape in listed
        }


def _read_header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
        for _, dtype, shape in header["arrays"]:
            if dtype not in _DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape):
                raise WireError(f"An array of {dtype} and {shape} is not read.")
    except WireError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise WireError(f"This is no frame of agvas: {error!r}") from None
    return header


def _bytes_of(_: str, dtype: str, shape: list[int]) -> int:
    return math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize


# --- predictions ---


def _prediction_facts(prediction: Prediction) -> dict[str, Any]:
    kept = {f.name: getattr(prediction, f.name) for f in fields(prediction) if f.name not in _MAPS}
    return kept | {
        "regions": [asdict(r) for r in prediction.regions],
        "candidates": [asdict(c) for c in prediction.candidates],
    }


def _prediction_maps(prediction: Prediction, prefix: str = "") -> dict[str, NDArray[Any]]:
    return {prefix + name: getattr(prediction, name) for name in _MAPS}


def _prediction(facts: dict[str, Any], arrays: Arrays, prefix: str = "") -> Prediction:
    maps = {name: arrays[prefix + name] for name in _MAPS}
    size_hw = _tuple(facts["size_hw"])
    if any(array.shape != size_hw for array in maps.values()):
        raise WireError(f"The maps of a mask are not of its size {size_hw}.")
    regions = tuple(
        Region(**r | {"box_xyxy": _tuple(r["box_xyxy"]), "centroid_yx": _tuple(r["centroid_yx"])})
        for r in facts["regions"]
    )
    candidates = tuple(JudgedCandidate(**c | {"box_xyxy": _tuple(c["box_xyxy"])}) for c in facts["candidates"])
    known = {"size_hw": size_hw, "regions": regions, "candidates": candidates, "roi_xyxy": _tuple(facts["roi_xyxy"])}
    return Prediction(**facts | known | maps)  # type: ignore[arg-type]


def _tuple(values: list[Any] | None) -> Any:
    return None if values is None else tuple(values)


# --- events ---


def pack_event(event: Event) -> list[bytes | memoryview]:
    """Return an event as a frame."""
    if isinstance(event, MaskReady):
        facts = {"kind": "mask", "prediction": _prediction_facts(event.prediction)}
        return pack(facts, _prediction_maps(event.prediction))
    return pack({"kind": _KINDS[type(event)], **asdict(event)})


def read_event(header: dict[str, Any], arrays: Arrays) -> Event:
    """Return the event of a frame; WireError when it holds none."""
    facts = dict(header)
    kind = facts.pop("kind", None)
    try:
        if kind == "mask":
            return MaskReady(_prediction(facts["prediction"], arrays))
        return _EVENTS[kind](**facts)  # type: ignore[index]
    except (KeyError, TypeError) as error:
        raise WireError(f"An event of kind {kind!r} is not understood: {error!r}") from None


# --- questions ---


def parcel(conversation: Conversation, request: Request) -> Conversation:
    """Return what an engine needs of a conversation: the one image, its last mask, and the good examples."""
    image = conversation.images.get(request.image_id or "")
    shown = [n for n, t in enumerate(conversation.turns) if t.prediction is not None and t.image_id == request.image_id]
    turns = tuple(t if n in shown[-1:] else replace(t, prediction=None) for n, t in enumerate(conversation.turns))
    return Conversation(turns).with_image(*([] if image is None else [image]), *good_images(conversation, request))


def pack_question(conversation: Conversation, request: Request) -> bytes:
    """Return a conversation and the request about it as a frame: all that any copy of an engine needs to answer."""
    turns: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for n, turn in enumerate(conversation.turns):
        facts: dict[str, Any] = {f.name: getattr(turn, f.name) for f in fields(turn) if f.name != "prediction"}
        if turn.prediction is not None:
            facts["prediction"] = _prediction_facts(turn.prediction)
            arrays |= _prediction_maps(turn.prediction, f"turn {n} ")
        turns.append(facts)
    names = {image_id: image.name for image_id, image in conversation.images.items()}
    arrays |= {f"image {image_id}": image.rgb for image_id, image in conversation.images.items()}
    return b"".join(pack({"request": asdict(request), "turns": turns, "images": names}, arrays))


def read_question(body: bytes) -> tuple[Conversation, Request]:
    """Return the conversation and the request of a frame; WireError when it holds none."""
    frames = list(FrameReader().feed(body))
    if len(frames) != 1:
        raise WireError(f"One question is wanted; {len(frames)} came.")
    header, arrays = frames[0]
    try:
        turns = []
        for n, facts in enumerate(header["turns"]):
            shown = facts.pop("prediction", None)
            prediction = None if shown is None else _prediction(shown, arrays, f"turn {n} ")
            turns.append(Turn(**facts, prediction=prediction))
        images = {i: InspectionImage(i, _picture(arrays[f"image {i}"]), name) for i, name in header["images"].items()}
        asked = header["request"]
        tuples = {name: _tuple(asked[name]) for name in ("roi_xyxy", "good_ids")}
        return Conversation(tuple(turns), images), Request(**asked | tuples)
    except WireError:
        raise
    except (KeyError, TypeError, AttributeError) as error:
        raise WireError(f"The question is not understood: {error!r}") from None


def _picture(rgb: NDArray[Any]) -> NDArray[np.uint8]:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise WireError(f"A picture is uint8 (H, W, 3); this one is {rgb.dtype} {rgb.shape}.")
    return rgb


# --- cards ---


def card_json(card: EngineCard) -> dict[str, Any]:
    """Return a card as JSON holds it."""
    return asdict(card)


def read_card(facts: dict[str, Any]) -> EngineCard:
    """Return the card of card_json; WireError when it is none."""
    try:
        return EngineCard(**facts | {"modes": tuple(facts["modes"])})
    except (KeyError, TypeError) as error:
        raise WireError(f"The card is not understood: {error!r}") from None
