"""The pictures and downloads of a reply: written when a mask comes, and again when its sliders or regions move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from agvas_core.regions import rethreshold
from agvas_core.structures import Prediction
from agvas_core.writers import verdict_facts
from demo import render
from demo.replies import Exchange, Reply
from demo.session import Session


def file_url(path: Path) -> str:
    """Return the URL of a file in gradio's cache, relative to the page so that it works behind a proxy's prefix."""
    return f"gradio_api/file={path}"


def show_prediction(
    session: Session, reply: Reply, prediction: Prediction, kinds: Sequence[str] = render.KINDS
) -> None:
    """Store a prediction in its reply and write pictures and downloads; nothing is drawn from random weights."""
    reply.prediction = prediction
    image = session.images[prediction.image_id]
    mode = reply.mode or reply.request.mode
    scale = session.scale(image.image_id, reply.request.instruction if reply.running else "")
    reply.facts = verdict_facts(prediction, reply.card, mode, image.name, scale)
    if not any(region.index == reply.selected_region for region in prediction.regions):
        reply.selected_region = None
    reply.version += 1
    if not reply.card.trained:
        return
    paths = render.write_reply_files(
        image, prediction, reply.facts, reply.selected_region, _new_file(session, reply), kinds
    )
    _keep(reply, paths)


def measure_anew(session: Session, image_id: str | None) -> None:
    """Write the facts of an image's replies anew where its scale is no longer the one they were measured by."""
    if image_id not in session.images:
        return
    scale = session.scale(image_id)
    mm_per_px = None if scale is None else scale.mm_per_px
    for reply in session.replies():
        old = reply.request.image_id == image_id and mm_per_px != reply.facts.get("mm_per_px")
        if old and reply.prediction is not None:
            show_prediction(session, reply, reply.prediction, ("json",))


def _new_file(session: Session, reply: Reply) -> Callable[[str, str], Path]:
    """Return a maker of file names; the file of two versions ago is deleted, the last one may still be on its way."""

    def new_file(kind: str, suffix: str) -> Path:
        for old in session.folder.glob(f"{reply.reply_id}-{kind}-*{suffix}"):
            if int(old.stem.rsplit("-", 1)[1]) < reply.version - 1 and file_url(old) != reply.assets.get(kind):
                session.drop_file(old)
        return session.new_file(f"{reply.reply_id}-{kind}-{reply.version}{suffix}")

    return new_file


def write_downloads(session: Session, reply: Reply) -> None:
    """Write what the picture did not need: the exact map, and the facts with the mode that was used at last."""
    image = session.images.get(reply.request.image_id or "")
    if reply.prediction is None or image is None or not reply.card.trained:
        return
    reply.facts["mode"] = reply.mode or reply.request.mode
    new_file = _new_file(session, reply)
    _keep(
        reply,
        render.write_reply_files(
            image,
            reply.prediction,
            reply.facts,
            None,
            new_file,
            [k for k in render.KINDS if k not in render.SHOWN_KINDS],
        ),
    )


def _keep(reply: Reply, paths: dict[str, Path]) -> None:
    reply.assets = {**reply.assets, **{kind: file_url(path) for kind, path in paths.items()}}


def delete_files(session: Session, exchanges: Sequence[Exchange]) -> None:
    """Delete the pictures of forgotten exchanges."""
    for exchange in exchanges:
        for reply in exchange.replies:
            for path in session.folder.glob(f"{reply.reply_id}-*"):
                session.drop_file(path)


def adjust(
    session: Session, threshold: float | None = None, alpha: float | None = None, min_area_px: int | None = None
) -> Reply | None:
    """Move the selected reply's mask from its stored maps, without the model; return the reply if it changed.

    None keeps a value. The reply's words may still be running.
    """
    with session.guard:
        return _adjust(session, threshold, alpha, min_area_px)


def _adjust(session: Session, threshold: float | None, alpha: float | None, min_area_px: int | None) -> Reply | None:
    reply = session.selected
    if reply is None or reply.prediction is None or reply.request.image_id not in session.images:
        return None
    before, answered = reply.prediction, reply.answered or reply.prediction
    threshold = before.threshold if threshold is None else float(threshold)
    alpha = before.alpha if alpha is None else float(alpha)
    min_area_px = before.min_area_px if min_area_px is None else int(min_area_px)
    if (before.threshold, before.alpha, before.min_area_px) == (threshold, alpha, min_area_px):
        return None
    after = rethreshold(answered, threshold=threshold, alpha=alpha, min_area_px=min_area_px)
    show_prediction(session, reply, after, ("overlay", "mask", "json") if before.alpha == alpha else render.KINDS)
    return reply


def pick_region(session: Session, reply_id: str, index: int) -> Reply | None:
    """Draw one region in blue, or none when it was blue already; the reply becomes the selected one."""
    with session.guard:
        return _pick_region(session, reply_id, index)


def _pick_region(session: Session, reply_id: str, index: int) -> Reply | None:
    reply = session.reply(reply_id)
    if reply is None or not reply.facts:
        return None
    session.selected_reply_id = reply_id
    reply.selected_region = None if reply.selected_region == index else index
    image = session.images.get(reply.request.image_id or "")
    if reply.prediction is not None and image is not None and reply.card.trained:
        reply.version += 1
        kinds = ("overlay",)
        _keep(
            reply,
            render.write_reply_files(
                image, reply.prediction, reply.facts, reply.selected_region, _new_file(session, reply), kinds
            ),
        )
    return reply
