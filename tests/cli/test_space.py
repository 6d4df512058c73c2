"""Spaces: what a folder holds, and that its app.py answers where nothing else of this project is to be found."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from agvas_core.cli.app import app
from agvas_core.cli.space import LARGE_BYTES, ZEROGPU_TORCH
from demo.gallery import read_examples
from demo.kept_answers import KEPT
from tests.cli.served import Served, free_port, serving

gradio_client = pytest.importorskip("gradio_client")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "assets" / "examples"


def build(out: Path, *options: str) -> Path:
    done = CliRunner().invoke(app, ["space", "--out", str(out), *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return out


def front_matter(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def alone(folder: Path, *more: Path) -> list[str]:
    """A Python that finds the folder and what pip installed, but not this checkout, and runs the folder's app.py."""
    paths = [str(folder), *map(str, more)]
    code = (  # -S: the file by which an editable install points here is not read; -I: no PYTHONPATH, no user's packages
        "import runpy, sys\n"
        f"sys.path[:0] = {paths!r}\n"
        f"sys.path.append({sysconfig.get_paths()['purelib']!r})\n"
        "runpy.run_path('app.py', run_name='__main__')\n"
    )
    return [sys.executable, "-I", "-S", "-c", code]


def ask_example(served: Served, number: int = 0) -> dict:
    example = read_examples(EXAMPLES)[number]
    return gradio_client.Client(served.url, verbose=False).predict(
        image=gradio_client.handle_file(str(example.path)),
        instruction=example.instruction,
        mode=example.mode,
        normal_description=example.normal_description,
        threshold=0.5,
        alpha=0.5,
        api_name="/segment",
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cpu", "gpu", "zerogpu"])
def test_a_space_answers_where_only_its_folder_is(kind, tmp_path):
    folder = build(tmp_path / "space", "--kind", kind)
    port = free_port()
    fake = [ROOT / "tests" / "fake_spaces"] if kind == "zerogpu" else []
    lent = {"SPACES_ZERO_GPU": "true", "FAKE_SPACES_FIRST": "1"} if fake else {}
    command = [*alone(folder, *fake), "--port", str(port)]
    with serving(command, folder, tmp_path / "log.txt", port, **lent) as served:
        answer = ask_example(served)
        assert answer["verdict"] in ("anomaly", "normal") and answer["engine"] == "agvas-nano"
        assert answer["mask"] and answer["text"]
        assert KEPT in ask_example(served)["notices"]
        printed = served.log.read_text()
    model_first = printed.index("imports of the model") < printed.index("the page is up")
    assert model_first == (kind == "zerogpu"), printed  # there the weights have to lie on the GPU before
    assert printed.count("A GPU is lent") == (kind == "zerogpu")  # and a kept answer costs none
    assert str(ROOT) not in printed


def test_a_space_has_what_the_page_needs_and_nothing_of_the_workshop(tmp_path):
    folder = build(tmp_path / "space", "--kind", "cpu")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "app.py", "demo", "agvas_core", "assets", "checkpoints", "README.md", "requirements.txt", "LICENSE", "NOTICE",
        "THIRD_PARTY.md", ".gitattributes", "space.json",
    }  # fmt: skip
    assert not list(folder.rglob("__pycache__")) and [p.name for p in (folder / "assets").iterdir()] == ["examples"]
    front = front_matter(folder)
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py" and front["suggested_hardware"] == "cpu-basic"
    assert len(front["short_description"]) <= 60 and "preload_from_hub" not in front
    wanted = (folder / "requirements.txt").read_text().split()
    assert not any(line.startswith(("gradio", "spaces", "torchvision")) for line in wanted)
    assert any(line.startswith("torch>") for line in wanted)


def test_large_files_go_by_lfs(tmp_path, checkpoint):
    trained = shutil.copytree(checkpoint, tmp_path / "mine")
    (trained / "big one.bin").write_bytes(b"\0" * (LARGE_BYTES + 1))
    folder = build(tmp_path / "space", "--kind", "cpu", "--engine", str(trained))
    rules = [line.split(" filter=lfs")[0] for line in (folder / ".gitattributes").read_text().splitlines()]
    large = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size > LARGE_BYTES]
    assert large and all(
        any(fnmatch(p.name, r) or p.match(r.replace("[[:space:]]", " ")) for r in rules) for p in large
    )
    assert not any(" " in rule for rule in rules)
    assert json.loads((folder / "space.json").read_text())["engine"] == "checkpoints/mine"


def test_zerogpu_takes_a_torch_of_its_list_and_preloads_the_backbones(tmp_path):
    folder = build(tmp_path / "space", "--kind", "zerogpu", "--model", "onevision-7b", "--pixel", "dinov3-l")
    (torch,) = (line for line in (folder / "requirements.txt").read_text().split() if line.startswith("torch"))
    assert torch.removeprefix("torch==") in ZEROGPU_TORCH
    front = front_matter(folder)
    assert front["suggested_hardware"] == "zero-a10g"
    assert (
        front["preload_from_hub"]
        == front["models"]
        == [
            "llava-hf/llava-onevision-qwen2-7b-ov-hf",
            "facebook/dinov3-vitl16-pretrain-lvd1689m",
        ]
    )
    assert json.loads((folder / "space.json").read_text())["engine"] == "onevision-7b+dinov3-l"


def test_a_gpu_is_as_large_as_the_model_wants(tmp_path):
    def hardware(*options: str) -> str:
        return front_matter(build(tmp_path / "space", "--kind", "gpu", *options))["suggested_hardware"]

    assert hardware() == "t4-small"
    assert hardware("--model", "onevision-7b") == "a10g-small"
    assert hardware("--model", "onevision-7b", "--quantization", "nf4") == "t4-small"
    assert "bitsandbytes" in (tmp_path / "space" / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kind", "cpu", "--model", "onevision-7b"], "35.*GiB.*16 GiB"),
        (["--kind", "zerogpu", "--model", "onevision-7b", "--quantization", "nf4"], "--kind gpu"),
        (["--kind", "cpu", "--engine", "anomaly-ov-7b"], "cannot answer with 'anomaly-ov-7b'"),
        (["--kind", "cpu", "--pixel", "dinov3-l"], "belong to --model"),
    ],
)
def test_what_cannot_be_hosted_is_refused_in_a_sentence(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        build(tmp_path / "space", *options)
    assert not (tmp_path / "space").exists()


def test_a_space_is_renewed_in_place_and_a_strangers_folder_is_left_alone(tmp_path):
    folder = build(tmp_path / "space", "--kind", "cpu")
    (folder / ".git").mkdir()
    (folder / "demo" / "old.py").write_text("")
    build(folder, "--kind", "gpu")
    assert (folder / ".git").is_dir() and not (folder / "demo" / "old.py").exists()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="not empty"):
        build(tmp_path / "theirs", "--kind", "cpu")
    assert [p.name for p in (tmp_path / "theirs").iterdir()] == ["thesis.tex"]


# --- the container ---------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def copied(out: Path) -> Path:
    """What the Dockerfile's COPY lines bring into the image."""
    for name, arguments in instructions():
        if name == "COPY":
            *sources, target = shlex.split(arguments)
            for source in sources:
                to = out / target / (Path(source).name if target.endswith("/") else "")
                to.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy2(ROOT / source, to)
    return out


@pytest.mark.slow
def test_the_page_opens_from_what_the_container_holds(tmp_path):
    folder, port = copied(tmp_path / "app"), free_port()
    with serving([*alone(folder), "--port", str(port)], folder, tmp_path / "log.txt", port) as served:
        assert "could not be loaded" not in served.log.read_text()


def test_the_container_runs_as_nobody_special_and_its_builder_is_sent_what_it_copies():
    names = [name for name, _ in instructions()]
    assert names.count("FROM") == 1 and ("USER", "agvas") in instructions()
    assert names.index("USER") > max(n for n, name in enumerate(names) if name in ("RUN", "COPY"))
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {s for name, arguments in instructions() if name == "COPY" for s in shlex.split(arguments)[:-1]}
    assert sources == sent
