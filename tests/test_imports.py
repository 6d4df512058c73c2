"""Who may import whom: the arrows between the rooms, checked in every import statement, lazy ones included."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_VALUES = {"structures", "config"}
_LANGUAGE = _VALUES | {"anchors", "kinds", "prompts", "regions", "wording", "claims"}
_PICTURES = _LANGUAGE | {"processing", "tokenizer"}
_MODEL = _PICTURES | {"modeling", "checkpoint", "checkpoint_expert"}
# room: the rooms that it may import, besides itself
ARROWS: dict[str, set[str]] = {
    "structures": set(),
    "config": set(),
    "anchors": _VALUES,
    "kinds": set(),
    "regions": _VALUES,
    "wording": {"kinds", "prompts"},
    "counting": set(),
    "spelling": {"wording"},
    "excuses": {"kinds"},
    "asking": _LANGUAGE | {"counting", "spelling", "excuses"},
    "claims": {"kinds", "regions", "counting"},
    "prompts": _LANGUAGE,
    "tokenizer": _LANGUAGE | {"synthesis"},  # to be trained on made-up talks; never when it is used
    "tiff": set(),
    "picture_files": {"tiff"},
    "pixel_values": {"picture_files"},
    "processing": _LANGUAGE | {"picture_files", "pixel_values"},
    "calipers": {"regions"},
    "foreground": set(),
    "scale": {"structures", "foreground"},
    "views": set(),
    "drawing": _VALUES | {"regions"},
    "writers": _VALUES | {"drawing", "regions", "calipers", "scale"},
    "good_parts": {"structures", "spelling"},
    "wire": _VALUES | {"good_parts"},
    "synthesis": _LANGUAGE | {"processing"},
    "data": _PICTURES | {"synthesis"},
    "modeling": _VALUES | {"anchors"},
    "memory": _VALUES | {"modeling"},
    "backbones": _MODEL | {"memory"},
    "adapter": {"config", "anchors", "modeling", "checkpoint", "backbones"},
    "checkpoint": _VALUES | {"anchors", "prompts", "tokenizer", "modeling"},
    "checkpoint_expert": {"checkpoint", "modeling"},
    "findings": _LANGUAGE | {"processing"},
    "encoded": {"modeling", "processing", "structures", "views"},
    "outlines": set(),
    "memory_bank": {"modeling", "processing"},
    "predictor": _MODEL | {"views", "encoded", "findings", "memory_bank", "good_parts", "outlines"},
    # rules and candidates; the bundled model is one proposer
    "saa": _PICTURES | {"predictor", "findings", "counting", "calipers", "scale", "foreground"},
    "engines": _MODEL
    | {"predictor", "encoded", "findings", "saa", "drawing", "backbones", "memory", "adapter", "wire"}
    | {"asking", "counting", "calipers", "scale", "spelling", "good_parts", "memory_bank", "excuses"},
    "replicas": {"structures", "processing", "engines", "wire"},
    "evaluation": _MODEL | {"predictor", "engines", "synthesis", "data"},
    "training": _MODEL | {"predictor", "synthesis", "data", "evaluation", "backbones", "memory", "adapter"},
    "cli": _PICTURES
    | {
        "front door",
        "engines",
        "synthesis",
        "data",
        "evaluation",
        "training",
        "checkpoint",
        "adapter",
        "memory",
        "good_parts",
        "writers",
        "replicas",
        "demo",
    },
    "front door": {"structures", "processing", "engines", "predictor"},
    "demo": _LANGUAGE
    | {"front door", "asking", "scale", "good_parts", "processing", "engines", "drawing", "writers", "wire"},
    "app": {"front door", "demo"},
}
FORBIDDEN_PACKAGES = {"gradio", "gradio_client", "spaces", "torchvision"}


def _files() -> list[Path]:
    return sorted([*(ROOT / "agvas_core").rglob("*.py"), *(ROOT / "demo").rglob("*.py"), ROOT / "app.py"])


def _room(module: str) -> str:
    """Return the room of a dotted module name."""
    parts = module.split(".")
    if parts[0] != "agvas_core":
        return parts[0]
    return parts[1] if len(parts) > 1 else "front door"


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.AST, module: str, is_package: bool) -> list[tuple[int, str]]:
    """Return line and dotted name of everything imported anywhere in a file."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
                base = ".".join([*package, *([base] if base else [])])
            if base in ("agvas_core", "demo"):  # `from agvas_core import modeling` means the room
                rooms = {p.stem for p in (ROOT / base).iterdir() if p.suffix == ".py" or p.is_dir()}
                found += [(node.lineno, f"{base}.{a.name}" if a.name in rooms else base) for a in node.names]
            else:
                found.append((node.lineno, base))
    return found


def _wrong_arrows(path: Path, source: str) -> list[str]:
    module = _module_name(path)
    room = _room(module)
    wrong = []
    for line, name in _imported(ast.parse(source), module, path.name == "__init__.py"):
        package = name.split(".")[0]
        if module.startswith("agvas_core") and package in FORBIDDEN_PACKAGES:
            wrong.append(f"{path.name}:{line} {room} imports {package}")
        if package in ("agvas_core", "demo", "app"):
            target = _room(name)
            if target != room and target not in ARROWS[room]:
                wrong.append(f"{path.name}:{line} {room} imports {target}")
    return wrong


@pytest.mark.parametrize("path", _files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_import_follows_the_arrows(path):
    assert _wrong_arrows(path, path.read_text(encoding="utf-8")) == []


def test_the_library_knows_of_the_page_only_that_it_can_be_opened():
    for path in (ROOT / "agvas_core").rglob("*.py"):
        for line, name in _imported(ast.parse(path.read_text(encoding="utf-8")), _module_name(path), False):
            assert not name.startswith("demo."), f"{path.name}:{line} imports {name}"
            assert name != "demo" or path.name == "app.py", f"{path.name}:{line} imports the page"


def test_every_room_has_its_arrows():
    assert {_room(_module_name(path)) for path in _files()} <= set(ARROWS)


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("agvas_core/modeling/agmd.py", "from agvas_core.synthesis.facts import DEFECT_KINDS"),
        ("agvas_core/modeling/agmd.py", "def f():\n    import agvas_core.data.mvtec_folder"),
        ("agvas_core/modeling/agmd.py", "from ..data import mvtec_folder"),
        ("agvas_core/modeling/__init__.py", "from ..data import mvtec_folder"),
        ("agvas_core/engines/base.py", "from gradio import Blocks"),
        ("agvas_core/structures.py", "from agvas_core import modeling"),
        ("demo/page.py", "from agvas_core.modeling.agvas import AGVAS"),
        ("agvas_core/training/run.py", "from demo import render"),
    ],
)
def test_a_wrong_arrow_is_seen(where, source):
    assert len(_wrong_arrows(ROOT / where, source)) == 1


def _at_the_top(tree: ast.Module) -> ast.Module:
    """Return a file without its functions and classes: what it imports when it is read, and for types."""
    return ast.Module([n for n in tree.body if not isinstance(n, (ast.FunctionDef, ast.ClassDef))], [])


def _in_circles(imports: dict[str, set[str]]) -> list[str]:
    """Return the modules from which the imports lead back to themselves."""

    def leads_to(module: str) -> set[str]:
        found: set[str] = set()
        ahead = list(imports[module])
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += imports.get(name, ())
        return found

    return [module for module in imports if module in leads_to(module)]


def test_no_file_imports_itself_through_others_not_even_for_types():
    imports = {}
    for path in _files():
        name, tree = _module_name(path), ast.parse(path.read_text(encoding="utf-8"))
        imports[name] = {to for _, to in _imported(_at_the_top(tree), name, path.name == "__init__.py")} - {name}
    assert _in_circles(imports) == []
    assert _in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_the_front_door_and_the_page_load_nothing_heavy():
    code = (
        "import sys, agvas_core, agvas_core.cli.app, demo\n"
        "heavy = {'torch', 'transformers', 'gradio', 'scipy', 'PIL', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert 'load_engine' in dir(agvas_core)\n"
        "agvas_core.Prediction\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
