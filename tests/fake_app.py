"""The page with the fake engine: `python -m tests.fake_app --port 7861`; the browser tests start it."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


def write_examples(folder: Path) -> Path:
    """Write two small example photos with their examples.json."""
    from tests.demo.pictures import spotted

    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for n, (mode, caption) in enumerate(
        [("explain", "Dark spot on sheet metal"), ("describe", "Two stains"), ("direct", "Clean sheet")]
    ):
        spotted(spots=(1, 2, 0)[n], seed=n).save(folder / f"example{n}.png")
        entries.append(
            {
                "file": f"example{n}.png",
                "mode": mode,
                "instruction": "Please segment the anomalies.",
                "caption": caption,
            }
        )
    (folder / "examples.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


def _broken() -> None:
    raise FileNotFoundError("its weights are not on this machine")


def main() -> None:
    """Serve the page until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument(
        "--several", action="store_true", help="three engines to choose from, one that cannot be loaded"
    )
    parser.add_argument("--examples", type=Path)
    args = parser.parse_args()
    import demo
    from demo.desk import EngineDesk
    from tests.fakes import FakeEngine, second_engine, untrained_engine

    examples = args.examples or write_examples(Path(tempfile.mkdtemp()))
    makers = {"fake": FakeEngine, "second": second_engine, "broken": _broken}
    if args.untrained:
        makers = {"untrained": untrained_engine}
    elif not args.several:
        makers = {"fake": FakeEngine}
    desk = EngineDesk(list(makers), lambda name: makers[name]())
    demo.launch(desk, host="127.0.0.1", port=args.port, quiet=True, examples_folder=examples)


if __name__ == "__main__":
    main()
