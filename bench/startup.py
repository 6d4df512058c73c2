"""Time the page's start: until it answers, and until its model does; the model behind the page against before it.

`python bench/startup.py [--repeats 3] [--before DIR]` starts app.py in both ways in turn, and prints medians, their
ratio and the parts; it writes bench/results/startup.json. "before" loads the model first (--load-first), or is another
checkout's app.py as it is (--before).
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 240
PART = re.compile(r"([a-z][\w+ -]*) (\d+\.\d+) s(?=[,;])")


def start(folder: Path, *options: str) -> tuple[float, float | None, dict[str, float]]:
    """Start app.py; return seconds until the page answers, until questions are (None: not said), and the parts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.perf_counter()
    command = [sys.executable, "-u", "app.py", "--port", str(port), *options]
    page = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        answers = _until_it_answers(f"http://127.0.0.1:{port}/", begun)
        parts: dict[str, float] = {}
        if not (folder / "demo" / "startup.py").is_file():
            return answers, None, parts
        assert page.stdout is not None
        for line in page.stdout:
            if line.startswith("Start-up:"):
                parts |= {name: float(seconds) for name, seconds in PART.findall(line)}
                if "--load-first" in options or "questions are answered" in line:
                    break
        return answers, time.perf_counter() - begun, parts
    finally:
        page.terminate()
        page.wait(20)


def _until_it_answers(url: str, begun: float) -> float:
    while time.perf_counter() - begun < LIMIT_S:
        try:
            with urllib.request.urlopen(url, timeout=30):
                return time.perf_counter() - begun
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    raise TimeoutError(f"the page did not answer within {LIMIT_S} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, default=None, help="another checkout to compare with")
    options = parser.parse_args()
    other = (options.before.resolve(),) if options.before else (ROOT, "--load-first")
    ways = {"before": other, "now": (ROOT,)}
    runs: dict[str, list[tuple[float, float | None, dict[str, float]]]] = {way: [] for way in ways}
    for n in range(options.repeats + 1):
        for way, (folder, *more) in ways.items():
            run = start(folder, *more)
            if n:  # the first round fills the disk's cache
                runs[way].append(run)
    rows: dict[str, float] = {}
    for way, results in runs.items():
        rows[f"page answers, {way}, s"] = median(r[0] for r in results)
        ready = [r[1] for r in results if r[1] is not None]
        if ready:
            rows[f"questions are answered, {way}, s"] = median(ready)
    rows["page answers, before / now"] = rows["page answers, before, s"] / rows["page answers, now, s"]
    for name, value in rows.items():
        print(f"{name:36} {value:8.2f}")
    parts = {name: median(r[2].get(name, 0.0) for r in runs["now"]) for name in runs["now"][0][2]}
    print("parts now: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items()))
    out = ROOT / "bench" / "results" / "startup.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"repeats": options.repeats, **rows, "parts": parts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
