"""Start the chat page: `python app.py`. A Hugging Face Space runs this file as it is."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

DEFAULT_ENGINE = "agvas-nano"
SPACE_FILE = Path(__file__).resolve().parent / "space.json"  # written by `agvas space`: what a Space answers with


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description="AG-VAS Chat: talk about an inspection photo and get the defect's mask."
    )
    parser.add_argument(
        "--host", default=None, help="address to listen on (default 127.0.0.1; 0.0.0.0 for the network)"
    )
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    space = json.loads(SPACE_FILE.read_text(encoding="utf-8")) if SPACE_FILE.is_file() else {}
    engine = space.get("engine", DEFAULT_ENGINE)
    parser.add_argument("--engine", default=engine, help=f"engine, or a checkpoint's folder (default {engine})")
    parser.add_argument(
        "--model",
        default=None,
        help="instead of --engine, a base of the hub, with its pixel encoder and type: onevision-7b+dinov3-l+nf4",
    )
    parser.add_argument(
        "--explainer",
        default=None,
        help="who puts it into words: hub name or folder of an image-text-to-text model (default: the engine itself)",
    )
    parser.add_argument("--load-first", action="store_true", help="load the engine before the page opens")
    parser.add_argument(
        "--keep-examples",
        action="store_true",
        default=bool(space),
        help="answer each example once, and show that answer to later visitors (a Space does so)",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and serve the page; the engine is loaded as soon as the page is up."""
    args = build_parser().parse_args(argv)
    import demo

    try:
        demo.serve(
            args.model or args.engine,
            host=args.host,
            port=args.port,
            explainer=args.explainer,
            load_first=args.load_first,
            keep_examples=args.keep_examples,
        )
    except (ValueError, OSError, OverflowError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
