"""The served page without a browser: what it exposes, its endpoint, and which files it gives out."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo
from agvas_core.writers import UNTRAINED_VERDICT
from demo.desk import EngineDesk
from demo.gallery import read_examples
from demo.i18n import WORDS, say
from demo.page import build_page
from demo.rest import build_segment, uploaded_path
from demo.session import FileStore
from tests.fake_app import write_examples
from tests.fakes import FakeEngine, untrained_engine

gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    """The page, served in this process."""
    examples = write_examples(tmp_path_factory.mktemp("examples"))
    desk = EngineDesk(["fake"], lambda _: FakeEngine(pause_s=0.0))
    return demo.launch(desk, host="127.0.0.1", quiet=True, block=False, examples_folder=examples)


@pytest.fixture(scope="module")
def client(url):
    """A visitor without a browser."""
    return gradio_client.Client(url, verbose=False)


def test_building_the_page_loads_no_engine():
    def load(name: str):
        raise AssertionError("loaded at build time")

    build_page(EngineDesk(["fake"], load), Path("/nonexistent"))


def test_a_port_that_is_taken_is_said_with_what_to_do(url):
    desk = EngineDesk(["fake"], lambda _: FakeEngine(pause_s=0.0))
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(OSError, match=f"Port {port} is taken.*--port"):
        demo.launch(desk, host="127.0.0.1", port=port, quiet=True, block=False)


def test_only_the_segment_endpoint_is_public(client):
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/segment"]


def test_the_endpoint_says_of_each_parameter_what_it_is(client):
    segment = client.view_api(return_format="dict")["named_endpoints"]["/segment"]
    image = segment["parameters"][0]["type"]
    assert image["properties"]["meta"]["properties"]["_type"] == {"const": "gradio.FileData"}
    assert [p["parameter_name"] for p in segment["parameters"]][-4:] == ["close", "engine", "mm_per_px", "good"]


def test_segment_returns_verdict_regions_and_a_mask_file(client, photo):
    answer = client.predict(
        image=gradio_client.handle_file(photo),
        instruction="segment",
        mode="explain",
        normal_description="",
        threshold=0.5,
        alpha=0.5,
        api_name="/segment",
    )
    assert answer["verdict"] == "anomaly" and "unusual" in answer["text"]
    assert [r["kind"] for r in answer["regions"]] == ["stain", "hole"]
    mask = np.asarray(Image.open(answer["mask"]))
    assert mask.shape == (360, 480) and set(np.unique(mask)) == {0, 255}


def test_segment_measures_in_millimeters_where_a_pixel_s_size_is_given(client, photo):
    asked = {"image": gradio_client.handle_file(photo), "instruction": "segment", "api_name": "/segment"}
    plain, measured = (client.predict(**asked, **scale)["regions"][0] for scale in ({}, {"mm_per_px": 0.5}))
    assert "length_mm" not in plain and measured["length_mm"] == pytest.approx(plain["length_px"] / 2, rel=1e-3)
    with pytest.raises(Exception, match="mm_per_px"):
        client.predict(**asked, mm_per_px=-1)


def test_segment_takes_several_photos_of_good_parts(client, photo, clean):
    asked = {"image": gradio_client.handle_file(photo), "instruction": "segment", "api_name": "/segment"}
    assert client.predict(**asked, good=[gradio_client.handle_file(p) for p in (clean, photo)])["verdict"] == "anomaly"
    with pytest.raises(Exception, match="`good` must be a file uploaded to this page"):
        client.predict(**asked, good=[str(Path(__file__))])


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": None}, {"alpha": "much"}, {"instruction": None}, {"normal_description": 3}, {"mm_per_px": "a"}],
)
def test_segment_says_which_value_is_wrong(photo, tmp_path, wrong):
    """None and texts for numbers ended in Python's own errors."""
    desk = EngineDesk(["fake"], lambda _: FakeEngine())
    segment = build_segment(desk, FileStore(tmp_path), lambda: Path(photo).parent)
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        segment({"path": photo}, **wrong)


def test_segment_answers_with_the_same_keys_with_and_without_a_mask(client, photo):
    asked = {"image": gradio_client.handle_file(photo), "api_name": "/segment"}
    marked, words = client.predict(**asked), client.predict(**asked, instruction="hello", mode="chat")
    assert words["mask"] is None and words["verdict"] is None and marked.keys() == words.keys()


def test_segment_gives_no_mask_of_untrained_weights(photo, tmp_path):
    desk = EngineDesk(["untrained"], lambda _: untrained_engine())
    segment = build_segment(desk, FileStore(tmp_path / "files"), lambda: tmp_path)
    answer = segment({"path": photo})
    assert (answer["trained"], answer["regions"], answer["mask"]) == (False, [], None)
    assert answer["verdict"] == UNTRAINED_VERDICT and not list((tmp_path / "files").rglob("*.png"))


def test_segment_answers_with_the_engine_that_is_named(client, photo):
    """The endpoint once answered with the page's first engine only."""
    asked = {"image": gradio_client.handle_file(photo), "instruction": "segment", "api_name": "/segment"}
    assert client.predict(**asked)["engine"] == client.predict(**asked, engine="fake")["engine"] == "fake"
    with pytest.raises(Exception, match="engine"):
        client.predict(**asked, engine="nobody")


def test_calls_leave_no_empty_folders_behind(desk, photo, tmp_path):
    """Each call of the endpoint once left a folder that stayed when its file was deleted by age."""
    uploads, answers = tmp_path / "uploads", tmp_path / "answers"
    uploads.mkdir()
    sent = shutil.copy(photo, uploads)
    segment = build_segment(desk, FileStore(answers), lambda: uploads)
    masks = [Path(segment({"path": str(sent)}, "segment", "direct", "")["mask"]["path"]) for _ in range(3)]
    assert len({mask.read_bytes() for mask in masks}) == 1 and len(set(masks)) == 3
    assert [folder for folder in answers.iterdir() if folder.is_dir()] == [masks[0].parent]


def test_segment_reads_no_file_of_the_server(tmp_path):
    (tmp_path / "up").mkdir()
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    for path in (str(secret), str(tmp_path / "up" / ".." / "secret.png"), "", None):
        with pytest.raises(ValueError, match="image"):
            uploaded_path({"path": path}, tmp_path / "up")


def test_the_page_gives_out_no_other_file(url):
    for path in ("/etc/passwd", str(Path(__file__))):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}gradio_api/file={path}")
        assert refused.value.code == 403


def test_the_page_sends_no_statistics(url):
    config = json.loads(urllib.request.urlopen(f"{url}config").read())
    assert config["analytics_enabled"] is False


def test_missing_or_faulty_examples_are_left_out(tmp_path):
    assert read_examples(tmp_path / "absent") == []
    folder = write_examples(tmp_path)
    entries = json.loads((folder / "examples.json").read_text())
    entries += [{"file": "../secret.png", "mode": "direct"}, {"file": entries[0]["file"], "mode": "nonsense"}]
    (folder / "examples.json").write_text(json.dumps(entries))
    assert len(read_examples(folder)) == 3


def test_the_gallery_is_complete_and_equals_the_table_that_writes_it():
    from agvas_core.synthesis.examples import PICKED
    from demo.page import EXAMPLES

    shown = read_examples(EXAMPLES)
    assert [(e.path.stem, e.mode, e.instruction, e.normal_description, e.caption, e.caption_zh) for e in shown] == [
        row[2:] for row in PICKED
    ]
    assert all(e.caption_zh and e.instruction for e in shown)


def test_every_kind_of_defect_has_a_chinese_word():
    from agvas_core.synthesis.facts import DEFECT_KINDS

    assert all(kind in WORDS for kind in DEFECT_KINDS)


def test_every_word_is_there_in_both_languages():
    assert all(english and chinese for english, chinese in WORDS.values())
    assert say("region_n", "zh", n=2) == "2 个区域" and say("Encoding image") == "Encoding image"
