"""Time the bundled model on this machine's CPU: replies on a new and on a seen 512 px image, peak memory, page start.

`python bench/latency.py [--threads 2] [--repeats 7]` prints a table and writes bench/results/latency.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from agvas_core import Request, load_engine, open_image
from agvas_core.engines.ask import ask

ROOT = Path(__file__).resolve().parent.parent
IMAGE = ROOT / "assets" / "examples" / "hex-nut.jpg"  # 512 x 512
PAGE_LIMIT_S = 120


def median_seconds(run: Callable[[int], None], repeats: int) -> float:
    """Return the median wall seconds of run(0), run(1), ..., after one warm-up run."""
    run(-1)
    seconds = []
    for i in range(repeats):
        start = time.perf_counter()
        run(i)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def page_seconds() -> float:
    """Return the seconds from starting the page's process until it answers, the engine not yet loaded."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    page = subprocess.Popen([sys.executable, str(ROOT / "app.py"), "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - start < PAGE_LIMIT_S:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                    return time.perf_counter() - start
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
    finally:
        page.terminate()
        page.wait(10)
    raise TimeoutError(f"the page did not answer within {PAGE_LIMIT_S} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--engine", default="agvas-nano")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: dict[str, float] = {"page answers, s": page_seconds()}
    start = time.perf_counter()
    engine = load_engine(options.engine)
    rows["engine loaded, s"] = time.perf_counter() - start
    image = open_image(IMAGE)

    def new(i: int, mode: str) -> None:
        pixels = image.rgb.copy()
        pixels[0, 0] = i % 251  # another picture: nothing kept of the last one serves
        ask(engine, replace(open_image(pixels), name=f"{mode}{i}"), Request("", mode=mode))

    rows["direct, new 512 px image, s"] = median_seconds(lambda i: new(i, "direct"), options.repeats)
    rows["direct, seen image, s"] = median_seconds(lambda i: _seen(engine, image, i), options.repeats)
    rows["explain, new 512 px image, s"] = median_seconds(lambda i: new(i + 100, "explain"), options.repeats)
    rows["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    for name, value in rows.items():
        print(f"{name:32} {value:10.2f}")
    out = ROOT / "bench" / "results" / "latency.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"threads": options.threads, **rows}, indent=1) + "\n")


def _seen(engine: object, image: object, i: int) -> None:
    words = ("Please segment the anomalies in this image.", "Segment the defects.", "Mark all flaws.", "Show the mask.")
    ask(engine, image, Request(words[i % len(words)], mode="direct"))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
