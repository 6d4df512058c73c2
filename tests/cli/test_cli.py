"""The command line: quick help, one reply through the engine's events, whole folders, mistakes in one sentence."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import agvas_core
from agvas_core.cli.app import app, main
from agvas_core.cli.question import Question
from agvas_core.cli.waiting import Waiting
from agvas_core.regions import keep_regions, make_prediction, with_kinds
from agvas_core.structures import Done, EngineCard, MaskReady, Notice, Stage, TextDelta
from agvas_core.writers import NO_PICTURES, UNTRAINED_VERDICT

ROOT = Path(__file__).parent.parent.parent


class BrightEngine:
    """Takes the red channel for the anomaly map, and says so."""

    card = EngineCard("Bright", "bright", "A test.", "Apache-2.0", "none needed", True, ("direct",), "cpu", 0.0)
    asked = 0

    def prepare(self, image):
        """Nothing to prepare."""

    def respond(self, conversation, request, *, stop=None):
        """Answer."""
        type(self).asked += 1
        image = conversation.images[request.image_id]
        p = image.rgb[..., 0].astype(np.float32) / 255
        yield Stage("looking", 0.5)
        if request.mode == "chat":
            yield Notice("Nothing to segment.")
            yield Done("chat", {"looking": 0.1})
            return
        prediction = make_prediction(
            image_id=image.image_id,
            p_seg=p,
            p_nor=1 - p,
            p_ano=p,
            threshold=request.threshold,
            alpha=request.alpha,
            min_area_px=request.min_area_px or 0,
            roi_xyxy=request.roi_xyxy,
        )
        yield MaskReady(with_kinds(prediction, [("stain", 0.8)]))
        yield TextDelta("It is ")
        yield TextDelta("bright.")
        yield Done("direct", {"looking": 0.1})


@pytest.fixture
def run(monkeypatch):
    """Run the command line with the engine above."""
    BrightEngine.asked = 0
    monkeypatch.setitem(vars(agvas_core), "load_engine", lambda name: BrightEngine())
    monkeypatch.setitem(vars(agvas_core), "list_engines", lambda: ("bright",))

    def call(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    return call


@pytest.fixture
def photo(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[5:15, 40:55] = 250
    path = tmp_path / "part.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def photos(photo):
    """The photo alone in a folder."""
    folder = photo.parent / "photos"
    folder.mkdir()
    photo.rename(folder / photo.name)
    return folder


HELP_ALONE = """
import atexit, sys
heavy = {"torch", "transformers", "gradio", "scipy", "peft", "ray"}
atexit.register(lambda: print("loaded:", *sorted(heavy & set(sys.modules)), file=sys.stderr))
sys.argv = ["agvas", "--help"]
from agvas_core.cli.app import app
app()
"""


def test_help_loads_nothing_that_takes_seconds():
    done = subprocess.run([sys.executable, "-c", HELP_ALONE], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "loaded:"
    for command in ("demo", "engines", "predict", "evaluate", "inspect", "serve", "synth", "train"):
        assert command in done.stdout


class Terminal(io.StringIO):
    """A standard error that people look at."""

    def isatty(self):
        """Yes."""
        return True


def test_a_reply_that_takes_long_says_what_it_does_until_the_words_come():
    """A close look of a minute showed nothing."""
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        with Waiting(stream, patience_s=0.0, tick_s=0.001) as waiting:
            waiting.see(Stage("looking at the image in tiles", 0.1))
            deadline = monotonic() + 10
            while shown and "\rlooking at the image in tiles ... 0 s" not in stream.getvalue():
                assert monotonic() < deadline
                sleep(0.001)
            waiting.see(TextDelta("It is "))
            written = stream.getvalue()
            waiting.see(Stage("telling", 0.9))
            sleep(0.02)
        assert stream.getvalue() == written and bool(written) == shown
        assert not shown or written.endswith("\r" + " " * len("looking at the image in tiles ... 0 s") + "\r")
    with Waiting(quick := Terminal()) as waiting:
        waiting.see(Stage("looking", 0.1))
    assert quick.getvalue() == ""


def test_version(run):
    assert run("--version").output.strip() == f"agvas {agvas_core.__version__}"


def test_predict_prints_words_verdict_and_regions_and_writes_the_files(run, photo, tmp_path):
    result = run("predict", photo, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "It is bright." in result.output and "1 anomalous region" in result.output
    assert "upper right" in result.output and "stain" in result.output
    mask = np.asarray(Image.open(tmp_path / "out" / "mask.png"))
    assert mask.shape == (40, 60) and (mask == 255).sum() == 150
    assert np.asarray(Image.open(tmp_path / "out" / "map.png")).max() == round(65535 * 250 / 255)
    width, height = Image.open(tmp_path / "out" / "overlay.png").size
    assert width * 40 == height * 60
    facts = json.loads((tmp_path / "out" / "regions.json").read_text())
    assert facts["verdict"] == "anomaly" and facts["regions"][0]["box_xyxy"] == [40, 5, 55, 15]
    assert (facts["regions"][0]["kind"], facts["regions"][0]["kind_score"]) == ("stain", 0.8)


def test_the_smallest_area_is_none_unless_it_is_asked_for():
    assert Question().request().min_area_px is None and Question(min_area=0).request().min_area_px == 0


def test_a_second_opinion_is_an_option_of_every_question(run, photo, monkeypatch, tmp_path):
    names = []
    monkeypatch.setitem(vars(agvas_core), "load_engine", lambda name: names.append(name) or BrightEngine())
    assert run("predict", photo, "--second-opinion").exit_code == 0
    assert (
        run("inspect", photo.parent, "--second-opinion", "--engine", "bright", "--out", tmp_path / "o").exit_code == 0
    )
    assert run("predict", photo).exit_code == 0  # off unless asked for
    assert names == ["agvas-nano:second-opinion", "bright:second-opinion", "agvas-nano"]


def test_predict_json_is_nothing_but_json(run, photo):
    facts = json.loads(run("predict", photo, "--json", "--roi", "0,0,20,20").stdout)
    assert facts["verdict"] == "normal" and facts["regions"] == [] and facts["text"] == "It is bright."


def test_predict_without_a_mask_says_so(run, photo, tmp_path):
    result = run("predict", photo, "--mode", "chat", "--out", tmp_path / "out")
    assert result.exit_code == 0 and "Nothing to segment." in result.output
    shown = tmp_path / "shown"
    run("predict", photo, "--out", shown)
    facts, of_mask = (json.loads((folder / "regions.json").read_text()) for folder in (tmp_path / "out", shown))
    assert facts.keys() == of_mask.keys() and facts["score"] is None and facts["mode"] == "chat"
    assert not (tmp_path / "out" / "mask.png").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["predict", "missing.png"], "There is no file missing.png."),
        (["predict", "PHOTO", "--mode", "loud"], "mode must be one of auto, direct"),
        (["predict", "PHOTO", "--roi", "1,2"], "--roi must be left,top,right,bottom"),
        (["evaluate", "--data", "missing"], "There is no folder missing."),
        (["inspect", "missing"], "There is no folder missing."),
        (["predict", "PHOTO", "--out", "PHOTO"], "part.png is a file; results need a folder."),
        (["predict", "PHOTO", "--out", "/proc/none"], "Nothing can be written into /proc/none: "),
        (["inspect", "FOLDER", "--out", "PHOTO"], "part.png is a file; results need a folder."),
        (["synth", "--sheet", "/proc/none/sheet.png"], "Nothing can be written into /proc/none: "),
        (["train", "--stage", "export", "--run-dir", "FOLDER"], "has no joint stage to export"),
        (["train", "--run-dir", "PHOTO"], "part.png is a file; results need a folder."),
        (["train-expert", "--run-dir", "PHOTO"], "part.png is a file; results need a folder."),
        (["predict", "PHOTO", "--roi", "50,20,10,10"], "(50, 20, 10, 10) has no pixel inside the 60 x 40 image"),
        (["evaluate-synthesis", "--json", "FOLDER"], " is a folder; give the name of a file."),
        (["evaluate", "--data", "MVTEC", "--json", "FOLDER"], " is a folder; give the name of a file."),
        (["evaluate", "--data", "MVTEC", "--engine", ","], "--engine needs a name"),
        (["evaluate", "--data", "MVTEC", "--shots", "2"], "set has 1 good images, and 2 are to be compared with."),
        (["predict", "PHOTO", "--good", "missing.png"], "There is no file missing.png."),
        (["predict", "PHOTO", "--good", "TEXT"], "good.txt: This file is a text file; upload a PNG"),
        (["inspect", "FOLDER", "--good", "EMPTY"], "No images in "),
        (["evaluate", "--data", "MVTEC", "--good", "TEXT"], "good.txt: This file is a text file; upload a PNG"),
        (["synth", "--sheet", "sheet.gif"], "--sheet is the PNG to write, as sheet.png; got 'sheet.gif'."),
    ],
)
def test_mistakes_end_in_one_sentence(run, photo, monkeypatch, capsys, words, sentence):
    """What could not be written into was told in numbers ("[Errno 17]"), and after the whole work."""
    good = photo.parent / "set" / "test" / "good"
    good.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(good / "0.png")
    text, empty = photo.parent / "good.txt", photo.parent / "empty"
    text.write_text("This is a good part.")
    empty.mkdir()
    files = {"PHOTO": str(photo), "FOLDER": str(photo.parent), "MVTEC": str(good.parent.parent)}
    files |= {"TEXT": str(text), "EMPTY": str(empty)}
    monkeypatch.setattr(sys, "argv", ["agvas", *(files.get(word, word) for word in words)])
    monkeypatch.delenv("AGVAS_DEBUG", raising=False)
    monkeypatch.setitem(vars(agvas_core), "load_engine", lambda name: pytest.fail("an engine was loaded"))
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("agvas: ") and sentence in error and "Traceback" not in error
    assert "Errno" not in error and BrightEngine.asked == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["demo", "--port", "99999"], "65535"),
        (["train", "--sizes", "abc"], "--sizes is px with commas, as in 192,256; got 'abc'."),
        (["train", "--base", "agvas-nano", "--sizes", "0"], "--sizes is px with commas"),
        (["train-expert", "--sizes", "256,"], "--sizes is px with commas"),
        (["train", "--steps", "0"], "--steps"),
        (["train", "--threads", "0"], "--threads"),
        (["train", "--lr", "-1"], "--lr"),
        (["train", "--workers", "-1"], "--workers"),
        (["train", "--real-share", "3"], "--real-share"),
        (["train", "--minutes", "-1"], "--minutes"),
        (["train-expert", "--threads", "0"], "--threads"),
        (["train-expert", "--batch", "0"], "--batch"),
        (["checkpoint", "inspect", "folder", "--pixel", "sam-h"], "--pixel and --anyres belong to --preset"),
    ],
)
def test_a_wrong_option_is_named(run, words, sentence):
    """They were Python's own errors: "invalid literal for int()"."""
    result = run(*words)
    assert result.exit_code == 2 and sentence in " ".join(result.output.replace("│", " ").split())


def test_evaluate_prints_a_table_and_writes_json_and_maps(run, tmp_path):
    spot = np.zeros((16, 16), np.uint8)
    spot[4:8, 4:8] = 255
    files = {"test/good": ("0.png", spot * 0), "test/hole": ("0.png", spot), "ground_truth/hole": ("0_mask.png", spot)}
    for place, (name, array) in files.items():
        (tmp_path / "nut" / place).mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / "nut" / place / name)
    numbers = tmp_path / "numbers.json"
    result = run("evaluate", "--data", tmp_path / "nut", "--save-maps", tmp_path / "maps", "--json", numbers)
    assert result.exit_code == 0, result.output
    assert "| nut | 1 | 1 | 100.0 |" in result.output
    assert json.loads(numbers.read_text())["categories"][0]["ap"] == 1.0
    assert (tmp_path / "maps" / "nut" / "test" / "good" / "0.npy").exists()

    several = run(
        "evaluate", "--data", tmp_path / "nut", "--engine", "bright, bright:rules", "--saa-protocol", "--json", numbers
    )
    assert several.exit_code == 0, several.output
    assert "| nut | bright | 1 | 1 | 100.0 |" in several.output and "| nut | bright:rules | 1 | 1 |" in several.output
    assert "| nut | bright | 2 | 99.0 | 100.0 |" in several.output  # bicubic edges at 400 x 400
    both = json.loads(numbers.read_text())["engines"]
    assert [e["categories"][0]["ap"] for e in both] == [1.0, 1.0] and both[0]["saa_protocol"]["nut"]["f1_region"] == 1.0


def test_a_scale_measures_in_millimeters_in_the_table_and_the_list(run, photo, photos, tmp_path):
    result = run("inspect", photos, "--out", tmp_path / "out", "--mm-per-px", "0.2")
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["longest_mm"]) == pytest.approx(0.2 * 18.03, abs=0.01)
    result = run("predict", photos / photo.name, "--instruction", "Segment it. The image is 12 mm wide.")
    assert ", 3.61 x 2 mm)" in result.output
    for wrong in ("0", "-1", "nan"):
        refused = run("predict", photos / photo.name, "--mm-per-px", wrong)
        assert refused.exit_code == 1 and "--mm-per-px must be a length above 0" in str(refused.exception)


def test_inspect_goes_on_where_it_stopped_and_reports_what_it_cannot_read(run, photo, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    photo.rename(folder / "deep" / "part.png")
    Image.new("RGB", (8, 8)).save(folder / "dark.jpg")
    (folder / "broken.png").write_bytes(b"%PDF-1.7")
    result = run("inspect", folder, "--out", out, "--overlays")
    assert result.exit_code == 1, result.output  # something was not answered
    assert "3 images: 1 with anomalies, 1 not answered" in result.output
    with (out / "results.csv").open(newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows["deep/part.png"]["verdict"] == "anomaly" and rows["deep/part.png"]["largest_place"] == "upper right"
    assert rows["deep/part.png"]["largest_kind"] == "stain" and rows["dark.jpg"]["largest_kind"] == ""
    assert rows["dark.jpg"]["verdict"] == "normal" and rows["dark.jpg"]["longest_px"] == ""
    assert float(rows["deep/part.png"]["longest_px"]) == 18.03 and rows["deep/part.png"]["longest_mm"] == ""
    assert "is a PDF" in rows["broken.png"]["error"]
    assert (out / "masks" / "deep" / "part.png.png").exists() and (out / "overlays" / "dark.jpg.png").exists()
    report = (out / "report.html").read_text()
    assert report.count("<tr data-verdict") == 3 and 'src="thumbs/deep/part.png.jpg"' in report
    with Image.open(out / "thumbs" / "deep" / "part.png.jpg") as thumb:
        assert max(thumb.size) == 320
    assert BrightEngine.asked == 2

    run("inspect", folder, "--out", out, "--overlays")
    assert BrightEngine.asked == 2  # nothing is computed twice
    Image.new("RGB", (9, 9)).save(folder / "new.png")
    again = run("inspect", folder, "--out", out, "--overlays")
    assert BrightEngine.asked == 3 and "4 images" in again.output
    run("inspect", folder, "--out", out, "--overlays", "--threshold", "0.9")
    assert BrightEngine.asked == 6  # other settings, other answers


def test_every_row_of_results_json_has_the_same_keys(run, photos, tmp_path):
    """What was noticed of an image was in no file, and rows without a mask had no details."""
    (photos / "broken.png").write_bytes(b"")
    columns = {"details", "notices", "image", "error"}
    for mode in ("direct", "chat"):
        out = tmp_path / mode
        run("inspect", photos, "--out", out, "--mode", mode)
        broken, row = json.loads((out / "results.json").read_text())
        assert broken.keys() == row.keys() >= columns and broken["details"] is None
        assert row["details"]["mode"] == mode and row["notices"] == (["Nothing to segment."] if mode == "chat" else [])


def test_stopped_by_the_keyboard_it_says_how_to_go_on(run, photos, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(photos / "a.png")
    answer, asked = BrightEngine.respond, []

    def once(self, *question, **options):
        if asked:
            raise KeyboardInterrupt
        asked.append(1)
        yield from answer(self, *question, **options)

    with monkeypatch.context() as patch:
        patch.setattr(BrightEngine, "respond", once)
        stopped = run("inspect", photos, "--out", tmp_path / "out")
    assert stopped.exit_code == 130 and "Stopped; the same command goes on." in stopped.output
    assert len((tmp_path / "out" / "results.csv").read_text().splitlines()) == 2
    BrightEngine.asked = 0
    assert "2 images" in run("inspect", photos, "--out", tmp_path / "out").output and BrightEngine.asked == 1


def test_a_name_too_long_for_its_mask_does_not_end_the_work(run, photos, tmp_path):
    (photos / "part.png").rename(photos / f"{'a' * 250}.png")
    Image.new("RGB", (8, 8)).save(photos / "z.png")
    result = run("inspect", photos, "--out", tmp_path / "out")
    assert "2 images: 0 with anomalies, 1 not answered" in result.output
    assert "its mask cannot be written: File name too long" in (tmp_path / "out" / "results.csv").read_text()


def test_a_full_disk_leaves_the_tables_of_the_run_before(run, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run("inspect", photos, "--out", out)
    before = (out / "results.csv").read_text()

    def full(path, *_, **__):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    result = run("inspect", photos, "--out", out)
    assert isinstance(result.exception, OSError) and (out / "results.csv").read_text() == before
    assert not list(out.glob(".results*"))


def test_inspect_counts_images_that_show_others_than_were_asked_for(run, photo, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    photo.rename(tmp_path / "photos" / "a.png")
    answers = BrightEngine.respond

    def none_of_those(self, conversation, request, *, stop=None):
        for event in answers(self, conversation, request, stop=stop):
            if isinstance(event, MaskReady):
                event = MaskReady(replace(keep_regions(event.prediction, ()), verdict="other"))
            yield event

    monkeypatch.setattr(BrightEngine, "respond", none_of_those)
    result = run("inspect", tmp_path / "photos", "--out", tmp_path / "out", "--instruction", "only the scratch")
    assert result.exit_code == 0 and "1 images: 0 with anomalies, 1 with others than asked for, 0" in result.output


def test_inspect_goes_on_after_an_image_at_which_the_engine_fails(run, photo, tmp_path, monkeypatch):
    """An exception at one image once ended the work on all the others."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    photo.rename(folder / "a.png")
    for name in ("b.png", "c.png"):
        Image.new("RGB", (8, 8 if name == "b.png" else 9)).save(folder / name)
    answers = BrightEngine.respond

    def fails_at_small(self, conversation, request, *, stop=None):
        if conversation.images[request.image_id].size_hw == (8, 8):
            raise RuntimeError("out of memory")
        return answers(self, conversation, request, stop=stop)

    monkeypatch.setattr(BrightEngine, "respond", fails_at_small)
    result = run("inspect", folder, "--out", out)
    assert result.exit_code == 1 and "3 images: 1 with anomalies, 1 not answered" in result.output
    rows = {row["image"]: row for row in json.loads((out / "results.json").read_text())}
    assert rows["b.png"]["error"] == "Bright stopped with an error: out of memory" and rows["c.png"]["verdict"]
    monkeypatch.setattr(BrightEngine, "respond", answers)
    BrightEngine.asked = 0
    assert run("inspect", folder, "--out", out).exit_code == 0 and BrightEngine.asked == 1  # only what had failed


def test_inspect_answers_again_for_other_pixels_or_other_weights(run, photo, tmp_path, monkeypatch):
    """The weights were once told apart by their summary, and images by their date."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    photo.rename(folder / "a.png")
    run("inspect", folder, "--out", out)
    os.utime(folder / "a.png", (1, 1))
    run("inspect", folder, "--out", out)
    assert BrightEngine.asked == 1
    stat = (folder / "a.png").stat()
    data = bytearray((folder / "a.png").read_bytes())
    Image.new("RGB", (60, 40), (9, 9, 9)).save(folder / "a.png")
    assert bytes(data) != (folder / "a.png").read_bytes()
    os.utime(folder / "a.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    run("inspect", folder, "--out", out)
    assert BrightEngine.asked == 2
    monkeypatch.setattr(BrightEngine, "card", replace(BrightEngine.card, weights_hash="other"))
    run("inspect", folder, "--out", out)
    assert BrightEngine.asked == 3
    (out / "masks" / "a.png.png").unlink()
    run("inspect", folder, "--out", out)
    assert BrightEngine.asked == 4 and (out / "masks" / "a.png.png").is_file()


def test_predict_names_the_image_and_takes_away_the_pictures_of_the_reply_before(run, photo, tmp_path):
    out = tmp_path / "out"
    run("predict", photo, "--out", out, "--mode", "direct")
    assert (out / "mask.png").is_file()
    assert run("predict", photo, "--out", out, "--mode", "chat").exit_code == 0
    assert [p.name for p in out.iterdir()] == ["regions.json"]
    assert json.loads((out / "regions.json").read_text())["image"] == photo.name


def test_inspect_leaves_out_what_begins_with_a_dot(run, photo, tmp_path):
    """What macOS lays beside each file, "._a.png", was inspected and reported as not readable."""
    folder = tmp_path / ".hidden" / "photos"
    (folder / ".thumbs").mkdir(parents=True)
    (folder / "._a.png").write_bytes(b"\x00\x05\x16\x07")
    Image.new("RGB", (8, 8)).save(folder / ".thumbs" / "a.png")
    result = run("inspect", folder, "--out", tmp_path / "out")
    assert "No images in" in str(result.exception)
    photo.rename(folder / "a.png")
    result = run("inspect", folder, "--out", tmp_path / "out")
    assert result.exit_code == 0 and "1 images: 1 with anomalies" in result.output


def test_inspect_removes_the_masks_of_images_that_are_gone_and_nothing_else(run, photo, tmp_path):
    """The mask of an image that had been taken out of the folder stayed among those of the others."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    photo.rename(folder / "a.png")
    for name in ("deep/b.png", "c.png"):
        Image.new("RGB", (8, 9)).save(folder / name)
    run("inspect", folder, "--out", out, "--overlays")
    (out / "masks" / "mine.png").touch()  # not in the journal
    (folder / "deep" / "b.png").unlink()
    (folder / "c.png").write_bytes(b"%PDF-1.7")
    with (out / "journal.jsonl").open("a") as journal:
        journal.write(
            '{"key": "x", "row": {"image": "../../photos/a", "verdict": "normal"}}\n{"key": "y", "row": {}}\n'
        )
    assert run("inspect", folder, "--out", out).exit_code == 1
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.png")} == {
        "masks/a.png.png", "masks/mine.png", "overlays/a.png.png",
    }  # fmt: skip
    assert (folder / "a.png").exists()
    Image.new("RGB", (8, 9)).save(folder / "deep" / "b.png")
    run("inspect", folder, "--out", out)
    assert (out / "masks" / "deep" / "b.png.png").is_file()  # what comes back is drawn again


def test_an_image_without_mask_and_words_counts_as_not_answered(run, photo, tmp_path):
    photo.rename(tmp_path / "a.png")
    result = run("inspect", tmp_path, "--out", tmp_path / "out", "--mode", "chat")
    assert result.exit_code == 1 and "1 not answered" in result.output


def test_untrained_weights_write_no_picture(run, photo, tmp_path, monkeypatch):
    """Predicting with --out once wrote the mask and the map of random weights."""
    untrained = replace(BrightEngine.card, weights="UNTRAINED (random weights)", trained=False)
    monkeypatch.setattr(BrightEngine, "card", untrained)
    out = tmp_path / "out"
    result = run("predict", photo, "--out", out, "--mode", "direct")
    assert result.exit_code == 0 and NO_PICTURES in result.stderr
    assert "anomal" not in result.stdout.lower()
    assert [p.name for p in out.iterdir()] == ["regions.json"]
    facts = json.loads((out / "regions.json").read_text())
    assert (facts["trained"], facts["verdict"], facts["regions"]) == (False, UNTRAINED_VERDICT, [])
    assert facts["area_percent"] == 0
    result = run("predict", photo, "--out", out, "--mode", "direct", "--json")
    assert json.loads(result.stdout)["trained"] is False and NO_PICTURES in result.stderr
    BrightEngine.asked = 0
    for _ in range(2):
        result = run("inspect", photo.parent, "--out", tmp_path / "report", "--overlays")
        assert result.exit_code == 0 and NO_PICTURES in result.stderr
    assert BrightEngine.asked == 1  # the answer is kept without its pictures
    assert not list((tmp_path / "report").rglob("*.png"))


def test_an_engine_of_heat_maps_once_wrote_a_mask_and_counted_regions(run, photo, tmp_path, monkeypatch):
    """Its card and the README said "a heat map, no mask" all the while."""
    monkeypatch.setattr(BrightEngine, "card", replace(BrightEngine.card, heat_map_only=True))
    BrightEngine.asked = 0
    for _ in range(2):
        assert run("inspect", photo.parent, "--out", tmp_path / "report", "--overlays").exit_code == 0
    assert BrightEngine.asked == 1 and not list((tmp_path / "report").rglob("*.png"))
    rows = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [(row["verdict"], row["regions"]) for row in rows] == [("anomaly", 0)]
    out = tmp_path / "out"
    result = run("predict", photo, "--out", out, "--mode", "direct")
    assert result.exit_code == 0 and "region" not in result.output and "a heat map, no mask" in result.output
    assert "Anomaly by its score 0.98" in result.output
    assert {p.name for p in out.iterdir()} == {"map.png", "regions.json"}
    facts = json.loads((out / "regions.json").read_text())
    assert (facts["verdict"], facts["regions"], facts["area_percent"]) == ("anomaly", [], 0)


@pytest.mark.parametrize("out", [".", "photos", "photos/report"])
def test_inspect_may_write_beside_or_among_the_images(run, photo, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    photo.rename("photos/part.png")
    for _ in range(2):
        assert "1 images: 1 with anomalies" in run("inspect", "photos", "--out", out, "--overlays").output
    assert BrightEngine.asked == 1


def test_demo_refuses_an_unknown_engine(run):
    result = run("demo", "--engine", "nobody")
    assert isinstance(result.exception, ValueError) and "choose one of: bright" in str(result.exception)


def test_back_to_earlier_settings_the_mask_is_theirs(run, photos, tmp_path):
    """The row of the first run once stood beside the mask of the second."""
    masks = {}
    for threshold in ("0.5", "0.99", "0.5", "0.5"):
        run("inspect", photos, "--out", tmp_path / "out", "--threshold", threshold)
        (row,) = json.loads((tmp_path / "out" / "results.json").read_text())
        masks[threshold] = np.asarray(Image.open(tmp_path / "out" / "masks" / "part.png.png")).any()
        assert masks[threshold] == (row["verdict"] == "anomaly") == (threshold == "0.5")
    assert BrightEngine.asked == 3


# --- good examples ---------------------------------------------------------------------------------------------------


@pytest.fixture
def compared(monkeypatch):
    """Return a list that fills with the colours of the good examples that come with each question."""
    seen, answer = [], BrightEngine.respond

    def noting(self, conversation, request, **options):
        seen.append([int(conversation.images[image_id].rgb[0, 0, 0]) for image_id in request.good_ids])
        return answer(self, conversation, request, **options)

    monkeypatch.setattr(BrightEngine, "respond", noting)
    return seen


def good_parts(folder, *greys):
    """Write a plain photo of each grey below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for grey in greys:
        Image.new("RGB", (8, 8), (grey, grey, grey)).save(folder / f"{grey:03d}.png")
    return folder


def test_predict_compares_with_photos_and_folders_of_good_parts(run, photo, tmp_path, compared):
    folder, single = good_parts(tmp_path / "good", 10, 20), good_parts(tmp_path / "more", 30) / "030.png"
    assert run("predict", photo).exit_code == 0
    assert run("predict", photo, "--good", folder).exit_code == 0
    assert run("predict", photo, "--good", single, "--good", folder, "--good", folder / "010.png").exit_code == 0
    assert run("predict", photo, "--good", photo).exit_code == 0  # it may be the same one
    assert compared == [[], [10, 20], [30, 10, 20], [0]]


def test_of_a_large_folder_of_good_parts_some_are_taken_and_that_is_said(run, photo, tmp_path, compared):
    folder = good_parts(tmp_path / "good", *range(48))
    result = run("predict", photo, "--good", folder, "--json")
    assert "Of 48 photos of good parts 24 are compared with." in result.stderr and json.loads(result.stdout)
    assert compared == [list(range(0, 48, 2))]


def test_inspect_asks_anew_when_it_is_compared_with_others(run, photo, photos, tmp_path, compared):
    first, second = good_parts(tmp_path / "first", 10, 20), good_parts(tmp_path / "second", 30)
    asked = ["inspect", photos, "--out", tmp_path / "out"]
    for good, times in (([], 1), (["--good", first], 2), (["--good", first], 2), (["--good", second], 3), ([], 4)):
        result = run(*asked, *good)
        assert result.exit_code == 0 and len(compared) == times, result.output
        assert ("good examples" in (tmp_path / "out" / "report.html").read_text()) == bool(good)
    (second / "030.png").rename(second / "renamed.png")
    run(*asked, "--good", second)
    (first / "010.png").unlink()
    run(*asked, "--good", second)  # by its pixels, not by its name
    assert compared == [[], [10, 20], [30], [], [30]]


def dataset(root, trained=(), tested=(10, 20, 30)):
    """Write a category with plain good images and one with a bright spot; return its folder."""
    spot = np.zeros((8, 8), np.uint8)
    spot[2:5, 2:5] = 255
    for place, name in (("test/hole", "0"), ("ground_truth/hole", "0_mask")):
        (root / place).mkdir(parents=True)
        Image.fromarray(spot).save(root / place / f"{name}.png")
    good_parts(root / "test" / "good", *tested)
    if trained:
        good_parts(root / "train" / "good", *trained)
    return root


def test_evaluate_compares_with_shots_that_it_does_not_measure(run, tmp_path, compared):
    numbers = tmp_path / "numbers.json"
    result = run("evaluate", "--data", dataset(tmp_path / "nut"), "--shots", "2", "--json", numbers)
    assert result.exit_code == 0, result.output
    assert "| nut | 1 | 1 |" in result.output and compared == [[10, 20]] * 2
    assert json.loads(numbers.read_text())["about"]["shots"] == 2
    compared.clear()
    result = run("evaluate", "--data", dataset(tmp_path / "bolt", trained=(40, 50, 60)), "--shots", "1")
    assert "| bolt | 3 | 1 |" in result.output and compared == [[40]] * 4  # what is for training is not measured anyway
    compared.clear()
    result = run("evaluate", "--data", tmp_path / "bolt", "--shots", "1", "--good", tmp_path / "nut" / "test" / "good")
    assert "| bolt | 3 | 1 |" in result.output and compared == [[10, 20, 30, 40]] * 4  # both
    compared.clear()
    several = run("evaluate", "--data", tmp_path / "bolt", "--shots", "1", "--engine", "bright,bright:rules")
    assert several.output.count("| bolt | bright") == 2 and compared == [[40]] * 8
