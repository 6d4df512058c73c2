"""Build a Space, install its requirements into a new virtual environment, and ask its page one question there.

`python -m tests.cli.space_in_venv --kind cpu` needs a package index and some minutes, so no test does it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.cli.served import free_port, serving
from tests.cli.test_space import ask_example, build, front_matter


def main() -> None:
    """Build, install, run, ask; print how long each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("cpu", "gpu", "zerogpu"), default="cpu")
    kind = parser.parse_args().kind
    with tempfile.TemporaryDirectory(prefix="agvas-space-") as temporary:
        root = Path(temporary)
        folder, python = build(root / "space", "--kind", kind), root / "venv" / "bin" / "python"
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "venv", str(root / "venv")], check=True)
        gradio = f"gradio=={front_matter(folder)['sdk_version']}"  # what the hub adds
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, gradio, "-r", str(folder / "requirements.txt")], check=True)
        print(f"installed in {time.perf_counter() - begun:.0f} s", flush=True)
        port = free_port()
        with serving([str(python), "app.py", "--port", str(port)], folder, root / "log.txt", port) as served:
            answer = ask_example(served)
            print(served.log.read_text().strip())
        print(f"{kind}: {answer['verdict']}, {len(answer['regions'])} regions, {answer['text']!r}")


if __name__ == "__main__":
    main()
