"""Copies of an engine behind Ray Serve: turns per second against one copy, and a copy killed under load.

    .venv/bin/python bench/replicas.py                  # two copies of one thread each; wants agvas[replicas]
    .venv/bin/python bench/replicas.py --conversations 2 --rounds 1 --image-px 128   # a try

Every conversation has an image of its own. Throughput: direct turn, explanation, direct turn, as fast as answers come.
The kill: all begin an explanation; when the first has its mask, the process of its copy is killed (SIGKILL). Each reply
must end, and be as an undisturbed run's: the same words, the same mask.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from serving_parts.turns import photo_bytes

from agvas_core import load_engine
from agvas_core.engines.remote import RemoteEngine
from agvas_core.processing import open_image
from agvas_core.replicas.serving import local_replicas, require_ray
from agvas_core.structures import Conversation, Done, Event, InspectionImage, MaskReady, Mode, Request, TextDelta

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "assets" / "examples" / "hex-nut.jpg"
PLAN: tuple[Mode, ...] = ("direct", "explain", "direct")  # of a conversation; the image is new in the first


@contextmanager
def copies(args: argparse.Namespace, count: int) -> Iterator[RemoteEngine]:
    """Yield an engine that so many copies answer for."""
    with local_replicas(args.engine, str(count), threads=args.threads) as address:
        engine = load_engine(address)
        assert isinstance(engine, RemoteEngine)
        yield engine


def ask(
    engine: RemoteEngine, image: InspectionImage, mode: Mode, on_mask: Callable[[], None] | None = None
) -> list[Event]:
    """Return all events of one turn."""
    events = []
    for event in engine.respond(Conversation().with_image(image), Request("", image.image_id, mode=mode)):
        events.append(event)
        if on_mask is not None and isinstance(event, MaskReady):
            on_mask()
    return events


def pictures(args: argparse.Namespace, first: int) -> list[InspectionImage]:
    """Return an image for each conversation, new ones for each `first`."""
    return [open_image(photo_bytes(EXAMPLE, args.image_px, first + n)) for n in range(args.conversations)]


def throughput(engine: RemoteEngine, args: argparse.Namespace) -> dict[str, float]:
    """Return turns per second of all conversations together, and when nine of ten direct masks were there."""
    waits: list[float] = []

    def talk(image: InspectionImage) -> None:
        for mode in PLAN:
            begun = time.perf_counter()
            ask(engine, image, mode, lambda begun=begun: waits.append(time.perf_counter() - begun))

    for image in pictures(args, 0):  # warm up
        ask(engine, image, "direct")
    waits.clear()
    begun = time.perf_counter()
    with ThreadPoolExecutor(args.conversations) as pool:
        for n in range(1, args.rounds + 1):
            list(pool.map(talk, pictures(args, n * args.conversations)))
    seconds = time.perf_counter() - begun
    turns = args.rounds * args.conversations * len(PLAN)
    return {"turns": turns, "turns_per_s": turns / seconds, "mask_p90_s": float(np.percentile(waits, 90))}


def kill_under_load(engine: RemoteEngine, args: argparse.Namespace) -> dict[str, Any]:
    """Return what became of the conversations when a copy was killed while all of them got their replies."""
    images = pictures(args, 10_000)
    undisturbed = [ask(engine, image, "explain") for image in images]
    victim = engine.replica_of(images[0])["pid"]
    killed = threading.Event()
    guard = threading.Lock()

    def kill() -> None:
        with guard:
            if not killed.is_set():
                os.kill(victim, signal.SIGKILL)
                killed.set()

    with ThreadPoolExecutor(args.conversations) as pool:
        talks = [pool.submit(ask, engine, image, "explain", None if n else kill) for n, image in enumerate(images)]
        replies = [talk.result() for talk in talks]
    rows = [compare(one, other) for one, other in zip(replies, undisturbed, strict=True)]
    return {
        "conversations": len(rows),
        "ended": sum(row["ended"] for row in rows),
        "begun_again": sum(row["begun_again"] for row in rows),
        "same_words": sum(row["same_words"] for row in rows),
        "same_mask": sum(row["same_mask"] for row in rows),
        "masks_shown": [row["masks"] for row in rows],
        "largest_difference_of_maps": max(row["difference"] for row in rows),
        "slowest_s": max(row["broken_off_s"] for row in rows),
    }


def compare(one: list[Event], other: list[Event]) -> dict[str, Any]:
    """Return whether a reply is an undisturbed one's."""
    done = one[-1]
    words, words_other = ("".join(e.text for e in events if isinstance(e, TextDelta)) for events in (one, other))
    masks, masks_other = ([e.prediction for e in events if isinstance(e, MaskReady)] for events in (one, other))
    lost_s = done.seconds.get("broken off", 0.0) if isinstance(done, Done) else 0.0
    return {
        "ended": isinstance(done, Done) and not done.stopped,
        "begun_again": lost_s > 0,
        "broken_off_s": lost_s,
        "same_words": words == words_other,
        "same_mask": len(masks) == len(masks_other) == 1
        and np.array_equal(masks[0].pred_mask, masks_other[0].pred_mask),
        "masks": len(masks),
        "difference": float(np.abs(masks[-1].anomaly_map - masks_other[-1].anomaly_map).max()),
    }


def main() -> None:
    """Print both parts, and write them as JSON; status 1 when a conversation was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="agvas-nano")
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image-px", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1, help="of each copy")
    parser.add_argument("--json", type=Path, default=ROOT / "bench" / "results" / "replicas.json")
    args = parser.parse_args()
    try:
        require_ray()
    except ValueError as error:
        print(f"bench/replicas.py was SKIPPED. {error}")
        return
    result: dict[str, Any] = {"settings": {k: str(v) for k, v in vars(args).items()}, "cores": os.cpu_count()}
    with copies(args, 1) as engine:
        result["one"] = throughput(engine, args)
    with copies(args, 2) as engine:
        result["two"] = throughput(engine, args)
        result["kill"] = kill_under_load(engine, args)
    result["two_against_one"] = result["two"]["turns_per_s"] / result["one"]["turns_per_s"]
    report(result)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    kill = result["kill"]
    if not kill["ended"] == kill["same_words"] == kill["same_mask"] == kill["conversations"]:
        sys.exit(1)


def report(result: dict[str, Any]) -> None:
    """Print a table of the throughput, and a line about the kill."""
    print("| copies | turns/s | 90 % of the masks within |\n|---|---:|---:|")
    for name in ("one", "two"):
        print(f"| {name} | {result[name]['turns_per_s']:.2f} | {result[name]['mask_p90_s']:.2f} s |")
    print(f"Two against one: {result['two_against_one']:.2f} x, on {result['cores']} cores.")
    kill = result["kill"]
    print(
        f"A copy killed under load: {kill['ended']} of {kill['conversations']} replies ended, {kill['begun_again']} of "
        f"them begun again; words as undisturbed in {kill['same_words']}, mask in {kill['same_mask']}; maps differ "
        f"by at most {kill['largest_difference_of_maps']:.1e}; at most {kill['slowest_s']:.1f} s were lost."
    )


if __name__ == "__main__":
    main()
