"""How many synthetic inspection images a second: `python bench/synthesis.py --device cpu --threads 1`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from agvas_core.synthesis.generator import SceneGenerator

RESULTS = Path(__file__).parent / "results"


def measure_rate(size: int, device: str, batch: int, seconds: float) -> tuple[float, float]:
    """Return images per second over at least `seconds`, and processor ms per image, after a batch to warm up."""
    generator = SceneGenerator(size)
    generator.batch(batch, 0, device)
    made, start, busy = 0, time.perf_counter(), time.process_time()
    while (spent := time.perf_counter() - start) < seconds:
        generator.batch(batch, 1 + made, device).images.cpu()
        made += batch
    return made / spent, 1000 * (time.process_time() - busy) / made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0, help="time to measure each size for")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    results = {}
    print(f"{'size px':>8} {'images/s':>9} {'CPU ms/image':>13}   {args.device}, {args.threads} threads")
    for size in args.sizes:
        rate, busy_ms = measure_rate(size, args.device, args.batch, args.seconds)
        results[size] = {"images_per_second": round(rate, 1), "cpu_ms_per_image": round(busy_ms, 2)}
        print(f"{size:8d} {rate:9.1f} {busy_ms:13.2f}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu"
    record = {"device": name, "threads": args.threads, "batch": args.batch, "sizes": results}
    (RESULTS / f"synthesis_{args.device.replace(':', '')}.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
