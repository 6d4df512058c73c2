"""What travels to a GPU that is lent for minutes, and back: photographs made small, weights in pieces.

- `python bench/carry_run.py shrink FOLDER OUT`: a folder's photographs, at most 512 px, and its masks.
- `python bench/carry_run.py pack RUN_DIR OUT`: the dense stage's averaged weights in pieces of 15 MiB, and its log.
- `python bench/carry_run.py unpack OUT RUN_DIR`: there they are the stage's end, from which the next stages go on.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

import torch
from PIL import Image

from agvas_core.training.run import DENSE
from agvas_core.training.trainer import LOG_FILE, STATE_FILE

PIECE_BYTES = 15 * 1024**2
LONG_SIDE_PX, QUALITY = 512, 60
MASKS = "ground_truth"  # the folder of masks in the MVTec layout


def shrink(folder: Path, out: Path) -> int:
    """Copy a folder with its photographs scaled down, masks along with them; return how many bytes that are."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        target = out / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            shutil.copyfile(path, target)
            continue
        with Image.open(path) as image:
            is_mask = MASKS in path.parts
            small = image.convert("L" if is_mask else "RGB")
        way = Image.Resampling.NEAREST if is_mask else Image.Resampling.LANCZOS
        small.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX), way)
        if target.suffix.lower() == ".png":
            small.save(target, optimize=True)
        else:
            # smaller than JPEG, under the old name: who opens a picture looks at its content
            small.save(target, "WEBP", quality=QUALITY, method=6)
    return sum(p.stat().st_size for p in out.rglob("*") if p.is_file())


def pack(run_dir: Path, out: Path) -> list[Path]:
    """Write the dense stage's averaged weights in fp16, and how far it is, in pieces; and its log."""
    state = torch.load(run_dir / DENSE / STATE_FILE, map_location="cpu", weights_only=True)
    average = {k: v.half() if v.is_floating_point() else v for k, v in state["average"].items()}
    whole = io.BytesIO()
    torch.save({"average": average} | {k: state[k] for k in ("step", "images_seen", "seconds")}, whole)
    pieces = write_pieces(whole.getvalue(), out, DENSE)
    shutil.copyfile(run_dir / DENSE / LOG_FILE, out / LOG_FILE)
    return pieces


def write_pieces(data: bytes, out: Path, name: str) -> list[Path]:
    """Write out/name.00, out/name.01 ..., PIECE_BYTES each; `cat name.*` joins them."""
    out.mkdir(parents=True, exist_ok=True)
    pieces = []
    for number, start in enumerate(range(0, len(data), PIECE_BYTES)):
        pieces.append(out / f"{name}.{number:02d}")
        pieces[-1].write_bytes(data[start : start + PIECE_BYTES])
    return pieces


def unpack(out: Path, run_dir: Path) -> int:
    """Make the dense stage's end of the pieces, for the stages after it; return its steps.

    The stage itself cannot be resumed from it: the optimiser's moments stay behind.
    """
    data = b"".join(p.read_bytes() for p in sorted(out.glob(f"{DENSE}.[0-9][0-9]")))
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    average = {k: v.float() if v.is_floating_point() else v for k, v in state["average"].items()}
    (run_dir / DENSE).mkdir(parents=True, exist_ok=True)
    torch.save(state | {"average": average}, run_dir / DENSE / STATE_FILE)
    shutil.copyfile(out / LOG_FILE, run_dir / DENSE / LOG_FILE)
    return int(state["step"])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("shrink", "pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args(argv)
    if args.what == "shrink":
        print(f"{shrink(args.source, args.target) / 1e6:.1f} MB in {args.target}")
    elif args.what == "pack":
        print(*pack(args.source, args.target))
    else:
        print(f"The dense stage of {args.target} is at step {unpack(args.source, args.target)}.")


if __name__ == "__main__":
    main()
