"""Short questions that go on from a reply, offered below the newest one: each fits what its mask shows."""

from __future__ import annotations

from agvas_core.asking import singles_out
from demo.i18n import say
from demo.replies import Exchange, Reply
from demo.session import Session

MOST = 3


def follow_ups(session: Session, exchange: Exchange) -> list[str]:
    """Return what could be asked next, in the page's language; nothing where no mask can be asked about.

    What was asked of the image already is not offered again.
    """
    reply = exchange.reply
    if reply.running or reply.stopped or reply.errors or reply.compared or exchange.others:
        return []
    about = [e for e in session.exchanges if e.reply.request.image_id == reply.request.image_id]
    seen = next((e.reply for e in reversed(about) if e.reply.facts), None)
    if seen is None or not reply.card.trained or "chat" not in reply.card.modes:
        return []
    asked = {e.question.casefold() for e in about}
    offered = [say(f"next_{key}", session.lang) for key in _fitting(session, seen)]
    return [words for words in offered if words.casefold() not in asked][:MOST]


def _fitting(session: Session, seen: Reply) -> list[str]:
    """Return the keys of the questions that fit a reply's mask, those first that help most."""
    verdict, regions = seen.facts["verdict"], seen.facts["regions"]
    assert isinstance(regions, list)
    if verdict == "other":
        return ["all", "sure"]
    if not regions:
        # heat maps are no AG-VAS's, which alone compares
        known = seen.card.heat_map_only or seen.request.image_id in session.good_ids()
        return ["sure", "lower", *([] if known else ["good"])]
    part = singles_out(seen.request.instruction)
    several = len({region["finding"] for region in regions}) > 1
    size, narrower = ("size_1" if several else "size"), ["largest"] if several else []
    return ["where", size, "cause", *(["all"] if part else narrower), "sure"]
