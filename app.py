"""Start the chat page: `python app.py`. A Hugging Face Space runs this file as it is."""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

DEFAULT_ENGINE = "agvas-nano"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description="AG-VAS Chat: talk about an inspection photo and get the defect's mask."
    )
    parser.add_argument(
        "--host", default=None, help="address to listen on (default 127.0.0.1; 0.0.0.0 for the network)"
    )
    parser.add_argument("--port", type=int, default=None, help="port (default: the first free one from 7860)")
    parser.add_argument(
        "--engine", default=DEFAULT_ENGINE, help=f"engine, or a checkpoint's folder (default {DEFAULT_ENGINE})"
    )
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
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments and serve the page; the engine is loaded when the first visitor opens it."""
    args = build_parser().parse_args(argv)
    import demo

    try:
        demo.serve(args.model or args.engine, host=args.host, port=args.port, explainer=args.explainer)
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
