"""One reply of an engine, collected from its events; every command asks through this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agvas_core.engines.base import Engine
from agvas_core.scale import Scale, scale_of
from agvas_core.structures import (
    Conversation,
    Done,
    Event,
    InspectionImage,
    MaskReady,
    Notice,
    Prediction,
    Request,
    TextDelta,
)


@dataclass(frozen=True, eq=False)
class Reply:
    """What an engine answered.

    Attributes:
        prediction: the last mask, or None when none came.
        text: the words, joined.
        notices: the engine's own sentences.
        done: mode, seconds and tokens.
        scale: millimeters a pixel, where the request says them.
    """

    prediction: Prediction | None
    text: str
    notices: tuple[str, ...]
    done: Done
    scale: Scale | None = None


def ask(
    engine: Engine,
    image: InspectionImage,
    request: Request,
    on_event: Callable[[Event], None] | None = None,
    *,
    good: Sequence[InspectionImage] = (),
) -> Reply:
    """Ask about one image, without a history, and collect the reply.

    Args:
        engine: who answers.
        image: what it is about; its id is filled into the request.
        request: the question.
        on_event: called with every event as it comes.
        good: images of good parts, with which it is compared by an engine that does so.
    """
    words: list[str] = []
    notices: list[str] = []
    prediction: Prediction | None = None
    done = Done(request.mode, {})
    conversation = Conversation().with_image(*good, image)
    request = replace(request, image_id=image.image_id, good_ids=tuple(example.image_id for example in good))
    for event in engine.respond(conversation, request):
        if on_event is not None:
            on_event(event)
        if isinstance(event, TextDelta):
            words.append(event.text)
        elif isinstance(event, Notice):
            notices.append(event.text)
        elif isinstance(event, MaskReady):
            prediction = event.prediction
        elif isinstance(event, Done):
            done = event
    return Reply(prediction, "".join(words).strip(), tuple(notices), done, scale_of(conversation, request))


def predictor(engine: Engine, request: Request) -> Callable[..., Prediction]:
    """Return a function from image to prediction, for evaluation; it takes the images of good parts by `good`, too.

    Raises (when called):
        ValueError: when the engine gives no mask for an image.
    """

    def predict(image: InspectionImage, good: Sequence[InspectionImage] = ()) -> Prediction:
        reply = ask(engine, image, request, good=good)
        if reply.prediction is None:
            said = " ".join(reply.notices) or reply.text
            raise ValueError(f"{engine.card.name} gave no mask for {image.name}: {said}")
        return reply.prediction

    return predict
