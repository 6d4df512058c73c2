"""All stages of a preset by one command, given again until they are done: `python bench/train_larger.py --minutes 9`.

For a GPU that is lent for minutes at a time. The first call also measures what the two halves of training do alone:
images made a second, images learned from a second. The slower one is what to change (`--workers`, `--batch`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from carry_run import write_pieces
from torch.utils.data import DataLoader

from agvas_core.training.dense import make_dense_batch
from agvas_core.training.run import BatchMaker, RunOptions, dense_task
from agvas_core.training.sources import ImageSource, SourceOptions
from agvas_core.training.trainer import LOG_FILE, STATE_FILE, StepStream, Trainer, TrainOptions, move

EXPORT_MINUTES = 1.5  # kept free at the end of the last call
SMALL = ("--batch", "1", "--sizes", "64", "--threads", "1")  # of a rehearsal


@dataclass(frozen=True)
class Stage:
    """A stage of `agvas train` and its options; steps at full length."""

    name: str
    steps: int
    options: tuple[str, ...]


# Paper leaves open: lengths; from the curve of `nano` on two CPU cores (LOG.md), as many images as the time allows
STAGES = (
    Stage(
        "dense", 6000,
        ("--batch", "128", "--lr", "1e-3", "--sizes", "128,160,192,256,384,512", "--normal-share", "0.25", "--crowded",
         "--real-share", "0.18", "--bce", "1.0", "--dice", "1.5"),
    ),
    Stage("words", 3000, ("--batch", "256", "--lr", "1e-3")),
    Stage("joint", 3000, ("--freeze-pixel", "--batch", "64", "--lr", "8e-4", "--sizes", "256,384")),
)  # fmt: skip


def done_steps(run_dir: Path, stage: str) -> int:
    """Return how many steps a stage has done and saved; 0 before it begins."""
    state = run_dir / stage / STATE_FILE
    return int(torch.load(state, map_location="cpu", weights_only=True, mmap=True)["step"]) if state.is_file() else 0


def measure_rates(args: argparse.Namespace, seconds: float) -> dict[str, float]:
    """Return images/s of synthesis alone (all workers) and of dense training alone (one batch again and again)."""
    source = SourceOptions(sizes_px=(256,), textures=args.textures, real=args.real, crowded=True)
    train = TrainOptions(steps=10**6, mixed_precision=args.precision, workers=args.workers)
    asked = RunOptions(args.preset, args.run_dir / "rates", args.batch, 0, source, train)
    maker = BatchMaker(ImageSource(source, seed=0), args.batch, make_dense_batch)
    loader = iter(DataLoader(StepStream(maker, 0, 10**6), batch_size=None, num_workers=args.workers))
    batch, made = next(loader), 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        made += len(next(loader).images)
    rates = {"made": made / (time.perf_counter() - began)}
    del loader
    trainer = Trainer(dense_task(asked), maker, train, asked.run_dir)
    batch = move(batch, trainer.accelerator.device)
    trainer._train_step([batch])  # to warm up; it returns the losses' values, so the device has ended
    learned, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        trainer._train_step([batch])
        learned += len(batch.images)
    rates["learned"] = learned / (time.perf_counter() - began)
    return {name: round(rate, 1) for name, rate in rates.items()}


def train(args: argparse.Namespace, minutes: float) -> str | None:
    """Go on with the first stage that is not done; return its name, or None when all are."""
    for stage in STAGES:
        steps = max(1, round(stage.steps * args.scale))
        if done_steps(args.run_dir, stage.name) >= steps:
            continue
        options = [*stage.options, "--steps", str(steps), "--workers", str(args.workers)]
        options += ["--minutes", f"{minutes:.2f}", "--precision", args.precision]
        if args.small:
            options += [*SMALL, "--eval-images", "2", "--eval-steps", "0"]
        _call(args, stage.name, options)
        return stage.name
    return None


def _call(args: argparse.Namespace, stage: str, options: list[str]) -> None:
    """Run a stage of `agvas train` with the options that all stages share."""
    command = [sys.executable, "-m", "agvas_core.cli.app", "train", "--stage", stage, *options]
    command += ["--preset", args.preset, "--run-dir", str(args.run_dir)]
    named = (("--textures", args.textures), ("--real", args.real), ("--start-from", args.start_from))
    command += [str(word) for name, value in named if value for word in (name, value)]
    subprocess.run(command, check=True)


def pack(folder: Path, out: Path) -> list[Path]:
    """Write the folder as a tar in pieces under out; `cat checkpoint.tar.* | tar x` joins them."""
    whole = out / "checkpoint.tar"
    with tarfile.open(whole, "w") as tar:
        tar.add(folder, arcname=folder.name)
    data = whole.read_bytes()
    whole.unlink()
    return write_pieces(data, out, whole.name)


def export(args: argparse.Namespace) -> list[Path]:
    """Export the checkpoint and pack it."""
    folder = args.run_dir / f"agvas-{args.preset}"
    options = SMALL if args.small else ("--batch", "8", "--sizes", "256,384")
    _call(args, "export", ["--out", str(folder), "--precision", "no", *options])
    return pack(folder, args.out)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/larger"))
    parser.add_argument("--out", type=Path, default=Path("runs/larger/out"), help="where logs and the checkpoint go")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call; call again to go on")
    parser.add_argument("--workers", type=int, default=12, help="12 and more, or a divisor of 12, reuse each image")
    parser.add_argument("--batch", type=int, default=128, help="of the first measurement")
    parser.add_argument("--textures", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--start-from", type=Path, help="checkpoint to begin from")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--scale", type=float, default=1.0, help="of the stages' lengths")
    parser.add_argument("--small", action="store_true", help="rehearse: one image of 64 px a batch")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict[str, object]:
    """Run one call; return what it did."""
    began = time.monotonic()
    args = parse(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, object] = {"preset": args.preset, "device": _device_name()}
    if not (args.run_dir / "rates.json").is_file():
        rates = measure_rates(args, 1.0 if args.small else 20.0)
        (args.run_dir / "rates.json").write_text(json.dumps(rates) + "\n")
        print(
            f"Images/s: {rates['made']} made by {args.workers} processes, {rates['learned']} learned from.", flush=True
        )
    report["rates"] = json.loads((args.run_dir / "rates.json").read_text())
    stages: list[str] = []
    while (left := args.minutes - (time.monotonic() - began) / 60 - EXPORT_MINUTES * (not args.small)) > 0:
        stage = train(args, left)
        if stage is None:
            report["parts"] = [str(p) for p in export(args)]
            break
        stages.append(stage)
    report["stages"] = stages
    report["steps"] = {s.name: done_steps(args.run_dir, s.name) for s in STAGES}
    for name in (s.name for s in STAGES):
        log = args.run_dir / name / LOG_FILE
        if log.is_file():
            (args.out / f"{name}.jsonl").write_bytes(log.read_bytes())
    (args.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))
    return report


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


if __name__ == "__main__":
    main()
