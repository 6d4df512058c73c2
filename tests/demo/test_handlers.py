"""What the page does, without a browser and without gradio."""

from __future__ import annotations

import copy
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo import cards, compare, draw, handlers
from demo.desk import EngineDesk
from demo.handlers import Settings, ask, ask_again, ask_other
from demo.i18n import say
from demo.naming import compared_images, image_in_words
from demo.pictures import adjust, pick_region
from demo.session import MAX_IMAGES, FileStore, Knobs, Session
from demo.shelf import Shelf
from tests.demo.pictures import spotted
from tests.fakes import FakeEngine, second_engine, untrained_engine


def finish(replies) -> None:
    """Run a reply to its end."""
    for _ in replies:
        pass


def test_the_page_can_be_drawn_at_every_moment_of_a_reply(session, desk, photo):
    """Links to downloads were once drawn between the last event and the writing of the files."""
    for mode in ("direct", "describe", "explain", "chat"):
        for _ in ask(session, desk, "segment", [photo], Settings(mode=mode)):
            assert len(draw.messages(session)) == 2 * len(session.exchanges)


def last(session: Session):
    return session.exchanges[-1].reply


def asset(reply, kind: str) -> Path:
    return Path(reply.assets[kind].removeprefix("gradio_api/file="))


@pytest.mark.parametrize("mode", ["auto", "direct", "describe", "describe_plus", "explain", "chat"])
def test_a_reply_has_the_words_and_the_mask_of_its_mode(session, desk, photo, mode):
    finish(ask(session, desk, "segment", [photo], Settings(mode=mode)))
    reply = last(session)
    assert not reply.running and not reply.errors and reply.stage is None
    assert (reply.prediction is not None) == (mode != "chat")
    assert bool(reply.text) == (mode != "direct")
    assert reply.text_first == (mode in ("describe", "describe_plus", "chat"))
    assert reply.mode == ("explain" if mode == "auto" else mode)


def test_explain_shows_the_picture_before_the_words(session, desk, photo):
    states = []
    for reply in ask(session, desk, "segment", [photo], Settings(mode="explain")):
        if reply is not None:
            states.append((bool(reply.facts), bool(reply.text)))
    assert (True, False) in states and (False, True) not in states


def test_the_downloads_have_the_photos_size_and_depth(session, desk, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    reply = last(session)
    mask = np.asarray(Image.open(asset(reply, "mask")))
    deep = np.asarray(Image.open(asset(reply, "map")))
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
    assert deep.dtype == np.uint16
    assert np.array_equal(mask > 0, reply.prediction.pred_mask)
    np.testing.assert_allclose(deep / 65535, reply.prediction.anomaly_map, atol=1e-5)


def test_without_an_image_the_chat_says_what_to_do(session, desk, engine):
    finish(ask(session, desk, "segment it", [], Settings(mode="direct")))
    assert "no image yet" in last(session).errors[0]
    assert engine.seen == []
    finish(ask(session, desk, "hello", [], Settings(mode="chat")))
    assert not last(session).errors and last(session).text


def test_a_file_that_is_no_image_is_answered_with_a_sentence(session, desk, tmp_path):
    bad = tmp_path / "paper.png"
    bad.write_bytes(b"%PDF-1.4 nothing to see")
    finish(ask(session, desk, "segment", [str(bad)], Settings()))
    assert "upload a PNG" in last(session).errors[0]
    assert " s</span>" not in html(session, desk)  # nothing was computed, so there are no seconds
    assert last(session).errors[0].startswith("paper.png: ")  # of several files, which one
    assert session.images == {}


def test_what_was_never_asked_is_not_offered_to_another_engine(session, engine, photo, tmp_path):
    desk = EngineDesk(["fake", "second"], lambda _: engine)
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(photo).read_bytes()[:200])
    for files in ([], [str(broken)], [photo]):
        finish(ask(session, desk, "segment", files, Settings(mode="direct")))
        assert ('data-agv="other"' in html(session, desk)) == (files == [photo])


def test_an_english_answer_to_a_chinese_question_is_explained(session, desk, photo):
    session.lang = "zh"
    for question, told in (("这里有缺陷吗？", True), ("is there a defect?", False)):
        finish(ask(session, desk, question, [photo], Settings(mode="explain")))
        assert (say("in_english", "zh") in last(session).notices) == told


def test_an_engine_that_fails_ends_in_a_sentence_and_frees_the_desk(session, desk, photo):
    finish(ask(session, desk, "please crash", [photo], Settings(mode="direct")))
    assert "told to crash" in last(session).errors[0] and not last(session).running
    finish(ask(session, desk, "segment", [], Settings(mode="direct")))
    assert last(session).prediction is not None


def test_who_asks_a_loaded_engine_does_not_wait_while_another_loads(engine):
    """Cards and REST once waited for minutes while somebody else's 7B was loading."""
    loading, go_on = threading.Event(), threading.Event()

    def load(name: str):
        if name == "slow":
            loading.set()
            assert go_on.wait(30)
        return engine

    desk = EngineDesk(["fast", "slow"], load)
    assert desk.get("fast") is engine
    slow = desk.load("slow")
    assert loading.wait(30)
    with ThreadPoolExecutor(1) as pool:
        try:
            assert pool.submit(desk.get, "fast").result(timeout=10) is engine and not slow.done()
        finally:
            go_on.set()
    assert slow.result(timeout=30) is engine


def test_an_engine_that_cannot_be_loaded_is_named(session, photo):
    def load(name: str):
        raise FileNotFoundError("no weights here")

    finish(ask(session, EngineDesk(["absent"], load), "segment", [photo], Settings()))
    assert "absent" in last(session).errors[0] and "no weights here" in last(session).errors[0]


def test_a_question_that_comes_before_the_model_waits_with_a_sentence_and_can_be_stopped(session, photo):
    """The page is up before its model; the first question once waited with nothing to read."""
    arrived, loads = threading.Event(), []

    def load(name: str):
        loads.append(name)
        arrived.wait(20)
        return FakeEngine(pause_s=0.0)

    desk = EngineDesk(["fake"], load)
    stages = []
    for reply in ask(session, desk, "segment", [photo], Settings(mode="direct")):
        if reply is not None and reply.stage:
            stages.append(reply.stage[0])
            session.stop.set()
    assert stages == [say("loading_engine")]
    assert last(session).stopped and not last(session).running and not session.busy.locked()
    for reply in ask(session, desk, "segment", [], Settings(mode="direct")):
        if reply is not None and reply.stage and reply.stage[0] == say("loading_engine"):
            arrived.set()
    assert last(session).prediction is not None and last(session).card.name == "Fake engine"
    assert loads == ["fake"]  # stopping a question does not stop the loading, nor begin it again


def test_the_threshold_moves_the_mask_without_the_model(session, desk, engine, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    reply, asked = last(session), len(engine.seen)
    before, mask_before = reply.prediction, asset(reply, "mask")
    assert adjust(session, 0.2, 0.5, 0) is reply
    assert reply.prediction.pred_mask.sum() > before.pred_mask.sum()
    assert asset(reply, "mask") != mask_before and reply.facts["threshold"] == 0.2
    assert adjust(session, 1.0, 0.5, 0) is reply and reply.prediction.verdict == "normal"
    assert len(engine.seen) == asked
    assert adjust(session, 1.0, 0.5, 0) is None  # nothing moved


def test_old_versions_of_the_pictures_are_deleted(session, desk, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    for n in range(1, 10):
        adjust(session, n / 20, n / 20, 0)
    assert len(list(session.folder.glob("r*-mask-*"))) <= 3
    assert all(asset(last(session), kind).is_file() for kind in last(session).assets)


def test_a_picked_region_is_blue_and_picked_again_it_is_not(session, desk, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    reply = last(session)
    plain = asset(reply, "overlay").read_bytes()
    pick_region(session, reply.reply_id, 1)
    assert reply.selected_region == 1 and asset(reply, "overlay").read_bytes() != plain
    pick_region(session, reply.reply_id, 1)
    assert reply.selected_region is None and asset(reply, "overlay").read_bytes() == plain


def test_stop_keeps_what_is_there(session, photo):
    desk = EngineDesk(["fake"], lambda _: FakeEngine(pause_s=0.02))
    for reply in ask(session, desk, "a long one", [photo], Settings(mode="explain")):
        if reply is not None and reply.text:
            session.stop.set()
    assert last(session).stopped and last(session).prediction is not None
    assert not session.busy.locked()


def test_a_visitor_who_leaves_frees_the_desk(session, desk, photo):
    running = ask(session, desk, "segment", [photo], Settings(mode="explain"))
    for _ in range(3):
        next(running)
    running.close()
    assert not session.busy.locked() and session.stop.is_set()
    finish(ask(session, desk, "segment", [], Settings(mode="direct")))
    assert last(session).prediction is not None


def test_one_visitor_asks_one_thing_at_a_time(session, desk, photo):
    running = ask(session, desk, "segment", [photo], Settings())
    next(running)
    with pytest.raises(RuntimeError, match="still running"):
        finish(ask(session, desk, "and now", [], Settings()))
    finish(running)


def test_two_visitors_wait_for_each_other_and_share_nothing(session, photo):
    desk = EngineDesk(["fake"], lambda _: FakeEngine(pause_s=0.02))
    desk.get()
    other = copy.deepcopy(session)
    waited = []

    def visit() -> None:
        waited.extend(
            r.stage for r in ask(other, desk, "segment", [photo], Settings()) if r is not None and r.stage is not None
        )

    running = ask(session, desk, "segment", [photo], Settings())
    next(running), next(running), next(running)
    thread = threading.Thread(target=visit)
    thread.start()
    time.sleep(0.3)
    finish(running)
    thread.join(10)
    assert any("Waiting" in name for name, _ in waited)
    assert last(other).prediction is not None and last(other) is not last(session)
    assert other.folder != session.folder and len(other.folder.name) > 24


def test_retry_and_edit_forget_what_came_after(session, desk, engine, photo):
    for words in ("one", "two", "three"):
        finish(ask(session, desk, words, [photo] if words == "one" else [], Settings(mode="direct")))
    finish(ask_again(session, desk, 1, Settings(mode="direct"), question="other words"))
    assert [e.question for e in session.exchanges] == ["one", "other words"]
    conversation, request = engine.seen[-1]
    assert [t.text for t in conversation.turns if t.role == "user"] == ["one"] and request.instruction == "other words"
    finish(ask_again(session, desk, 0, Settings(mode="direct")))
    assert session.exchanges[0].shown_image_ids and len(session.exchanges) == 1
    assert handlers.undo(session) == "one" and session.exchanges == [] and session.selected is None


def test_a_photo_that_stays_in_use_after_an_undo_is_shown(session, desk, photo):
    """The next question once was about a photo that was nowhere to be seen."""
    drawn = [cards.images(session) for _ in ask(session, desk, "segment", [photo], Settings(mode="direct"))]
    assert drawn and not any(drawn) and cards.images(session) == ""  # the chat shows it
    handlers.undo(session)
    assert session.current_image is not None and 'aria-pressed="true"' in cards.images(session)
    finish(ask(session, desk, "segment", [], Settings(mode="direct")))
    assert cards.images(session) == ""


def test_the_engine_reads_the_conversation_so_far(session, desk, engine, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="explain")))
    finish(ask(session, desk, "and the other one?", [], Settings(mode="chat")))
    turns = engine.seen[-1][0].turns
    assert [t.role for t in turns] == ["user", "assistant"]
    assert turns[1].prediction is not None and turns[1].text.startswith("I see 2")


def test_encoding_starts_on_upload_and_the_file_is_read_once(session, desk, engine, photo):
    handlers.encode_ahead(session, desk, None, [photo])
    for _ in range(100):
        if engine.prepared:
            break
        time.sleep(0.02)
    assert engine.prepared == list(session.images)
    Path(photo).write_bytes(b"gone")
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    assert not last(session).errors


def test_words_name_an_earlier_image(session, desk, photo, clean):
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    first, second = session.images
    assert image_in_words(session, "segment the first image") == first
    assert image_in_words(session, "look at image 2") == second
    assert image_in_words(session, "the previous photo please") == first
    assert image_in_words(session, "看第一张图") == first
    assert image_in_words(session, "compare with the first image") is None
    assert image_in_words(session, "segment the first one") is None  # a region, perhaps
    assert image_in_words(session, "segment the first scratch") is None
    assert image_in_words(session, "is the other image normal?") == first
    with pytest.raises(ValueError, match="no image 7"):
        image_in_words(session, "image 7")
    finish(ask(session, desk, "segment the first image", [], Settings(mode="direct")))
    assert last(session).request.image_id == first == session.current_image_id


@pytest.mark.parametrize(
    "words",
    [
        "is at least 1 region of the image 5 % or more?", "is a share of the image 5% dark?", "mark in the image 5 ‰",
        "cracks in the image 2.5 mm wide", "cracks in the image 2 mm wide", "specks in the picture 5-10 px wide",
        "spots in this photo 3 x 4 px", "the photo 3 to 5 percent", "the image 45° turned",
        "图像5%以上的缺陷", "图像 2 毫米的划痕", "图像 2 个缺陷",
    ],
)  # fmt: skip
def test_a_measure_after_the_word_image_names_no_image(session, desk, photo, words):
    """A percentage was once refused: "There is no image 5"."""
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    assert image_in_words(session, words) is None and compared_images(session, f"{words}, compared with it") is None


@pytest.mark.parametrize(
    "words", ["image 2", "Image #2, please", "photo 2: why?", "in image 2, 5 % are dark", "图像 2 里", "图片2"]
)
def test_a_number_that_is_no_measure_names_its_image(session, desk, photo, clean, words):
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    assert image_in_words(session, words) == list(session.images)[1]


def test_an_image_that_is_not_there_is_refused_in_a_sentence_and_nothing_else_is_answered(session, desk, engine, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    finish(ask(session, desk, "describe the second image", [], Settings(mode="describe")))
    assert "There is no image 2" in last(session).errors[0] and len(engine.seen) == 1
    for words in (
        "Is the second region larger than the first one?", "difference between the first one and the second one?",
        "Is the scratch in this image 5 mm long?", "第二个缺陷在哪里？",
    ):  # fmt: skip
        finish(ask(session, desk, words, [], Settings(mode="chat")))
        assert not last(session).errors, words


def test_several_photos_at_once_are_answered_one_after_the_other(session, desk, engine, photo, clean):
    """Of five parts only the last one was judged, under all five pictures."""
    finish(ask(session, desk, "are these parts good?", [photo, clean], Settings(mode="direct")))
    first, second = session.seen
    assert [e.shown_image_ids for e in session.exchanges] == [(first,), (second,)]
    assert [e.reply.request.image_id for e in session.exchanges] == [first, second]
    assert not any(e.reply.errors or e.reply.running for e in session.exchanges)


def test_several_photos_that_are_compared_or_named_are_one_question(session, desk, engine, photo, clean):
    finish(ask(session, desk, "compare both images", [photo, clean], Settings(mode="direct")))
    assert len(session.exchanges) == 1 and last(session).compared is not None
    session.clear()
    finish(ask(session, desk, "segment the first image", [photo, clean], Settings(mode="direct")))
    assert [e.reply.request.image_id for e in session.exchanges] == [next(iter(session.seen))]


def test_a_stop_ends_the_photos_that_wait_too(session, desk, engine, photo, clean):
    for reply in ask(session, desk, "segment", [photo, clean], Settings(mode="explain")):
        if reply is not None and reply.prediction is not None:
            session.stop.set()
    assert len(session.exchanges) == 1


def test_a_photo_that_is_taken_out_of_the_box_again_changes_nothing(session, desk, photo, clean):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    first = session.current_image_id
    handlers.encode_ahead(session, desk, None, [clean])  # added, then removed
    finish(ask(session, desk, "how big is it?", [], Settings(mode="chat")))
    assert last(session).request.image_id == first and list(session.seen) == [first]
    finish(ask(session, desk, "and this one?", [clean], Settings(mode="direct")))
    assert last(session).request.image_id == list(session.seen)[1] != first


def test_a_retry_refuses_the_same_unreadable_file_again(session, desk, engine, photo, tmp_path):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    finish(ask(session, desk, "is it good?", [str(bad)], Settings(mode="direct")))
    refused = last(session).errors
    assert refused and len(engine.seen) == 1
    finish(ask_again(session, desk, 1, Settings(mode="direct")))
    assert last(session).errors == refused and len(engine.seen) == 1
    finish(ask_again(session, desk, 1, Settings(mode="direct"), "then look at the one before"))
    assert not last(session).errors and len(engine.seen) == 2


def test_a_retry_about_a_photo_that_is_gone_keeps_the_old_answer(session, desk, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="explain")))
    said, picture = last(session).text, asset(last(session), "overlay")
    assert session.let_go(session.current_image_id)
    finish(ask_again(session, desk, 0, Settings(mode="explain")))
    assert last(session).text == said and picture.is_file()
    assert "no longer here" in last(session).notices[-1]


def test_questions_go_before_photos_that_are_encoded_ahead(session, photo):
    began = threading.Event()

    class Slow(FakeEngine):
        def prepare(self, image):
            began.set()
            time.sleep(0.4)
            super().prepare(image)

    engine = Slow(pause_s=0.0)
    desk = EngineDesk(["fake"], lambda _: engine)
    image = handlers.read_upload(session, photo)
    for _ in range(3):
        desk.prepare(None, image)
    assert began.wait(5)
    for ahead in desk.wait(threading.Event()):
        if ahead == 0:
            break
    prepared = len(engine.prepared)
    desk.leave()
    assert prepared == 1  # the other two wait behind the question


def test_a_comparison_calls_a_threefold_area_no_equal_one() -> None:
    a, b = ({"regions": [0], "area_percent": share} for share in (0.06, 0.02))
    assert "0.04 percentage points larger" in compare._difference(("A", "B"), a, b, "en")
    assert compare._difference(("A", "B"), a, a, "en") == say("compare_same")


def test_the_better_of_two_is_said_where_number_and_area_agree() -> None:
    """It was answered with numbers alone."""

    def facts(regions: int, share: float, verdict: str = "anomaly") -> dict:
        return {"regions": [0] * regions, "area_percent": share, "verdict": verdict}

    assert compare._better(facts(3, 1.5), facts(1, 0.4)) == 1 and compare._better(facts(1, 0.4), facts(1, 1.5)) == 0
    assert (
        compare._better(facts(3, 0.4), facts(1, 1.5)) is None and compare._better(facts(2, 1.0), facts(2, 1.0)) is None
    )
    assert compare._better(facts(0, 0.0, "other"), facts(1, 1.5)) is None


ONE_IMAGE = (
    "are there more than two scratches in the first image?", "rather than the scratch, segment the hole in image 1",
    "compare the two scratches in the first image", "is there any difference in the first image?",
    "what is the difference between the scratch and the crack in the first image?", "第一张图里有比较大的划痕吗",
    "is more than 5 % of the first image marked?",
)  # fmt: skip


@pytest.mark.parametrize("words", ONE_IMAGE)
def test_more_than_something_in_an_image_is_no_comparison_of_two(session, desk, photo, clean, words):
    """Any "than" was once read as a comparison of two images."""
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    first, _ = session.images
    assert compared_images(session, words) is None and image_in_words(session, words) == first


@pytest.mark.parametrize(
    "words",
    [
        "is it worse than in the first image?", "more scratches than image 1?", "compare the first image with this one",
        "what is different from the first photo?", "compare the scratch with the one in the first image",
        "compared to the other image, is it worse?", "compare the two images", "difference between the two images?",
        "比第一张更差吗",
    ],
)  # fmt: skip
def test_a_comparison_in_other_words_is_one(session, desk, photo, clean, words):
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    first, second = session.images
    assert compared_images(session, words) == (second, first)


def test_words_name_two_images_to_compare(session, desk, photo, clean):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    assert compared_images(session, "how does it differ from the other one?") is None
    with pytest.raises(ValueError, match="only one image"):
        compared_images(session, "compare with the first image")
    finish(ask(session, desk, "segment", [clean], Settings(mode="direct")))
    first, second = session.images
    for words in (
        "compare with the first image", "和第一张比较", "compare both images", "is it worse than the previous photo?",
        "compare with the other one", "和上一张对比", "is it better than the first one?",
    ):  # fmt: skip
        assert compared_images(session, words) == (second, first), words
    assert compared_images(session, "compare image 1 with image 2") == (first, second)
    for words in ("segment the first image", "compare the two scratches", "compare the first scratch with the second"):
        assert compared_images(session, words) is None, words
    with pytest.raises(ValueError, match="no image 7"):
        compared_images(session, "compare with image 7")


def test_right_after_a_comparison_the_first_one_is_an_image(session, desk, photo, clean):
    """It was once answered about the current image, without a word."""
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    first, second = session.images
    assert image_in_words(session, "what about the first one?") is None  # a region, perhaps
    finish(ask(session, desk, "compare with the first image", [], Settings()))
    assert image_in_words(session, "what about the first one?") == first
    finish(ask(session, desk, "why is the other one worse?", [], Settings(mode="chat")))
    assert last(session).request.image_id == first and "About image 1" in last(session).notices[0]
    assert image_in_words(session, "and the first one?") is None


def test_the_panel_names_the_image_and_the_engine_whose_mask_the_sliders_move(session, both, photo, clean):
    desk, _ = both
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    assert "agv-which" not in draw.side(session)[0]
    finish(ask(session, desk, "segment", [clean], Settings(mode="direct")))
    assert "Image 2" in draw.side(session)[0] and "Fake engine" not in draw.side(session)[0]
    finish(ask_other(session, desk, "second"))
    assert "Image 2 · Second fake" in draw.side(session)[0]


@pytest.mark.parametrize("mode", ["auto", "explain", "chat"])
def test_a_comparison_measures_both_images_and_says_so(session, desk, engine, photo, clean, mode):
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    asked = len(engine.seen)
    for _ in ask(session, desk, "compare with the first image", [], Settings(mode=mode)):
        assert draw.messages(session)
    reply = last(session)
    first, second = session.images
    assert [request.image_id for _, request in engine.seen[asked:]] == [second, first]
    assert not reply.running and not reply.compared.running and reply.text == ""
    verdicts, difference = compare.sentences(session, reply, "en")[:2], compare.sentences(session, reply, "en")[2]
    assert "Image 2: no anomaly found" in verdicts[0] and "Image 1: anomaly" in verdicts[1] and "stain" in verdicts[1]
    a, b = reply.prediction, reply.compared.prediction
    assert f"Image 2 has {len(b.regions) - len(a.regions)} regions fewer than Image 1" in difference
    points = 100 * (b.pred_mask.mean() - a.pred_mask.mean())
    assert f"{points:.1f} percentage points smaller" in difference
    assert compare.sentences(session, reply, "en")[3] == "By what is marked, Image 2 is the better one."
    html = "".join(content for _, content in draw.reply_parts(session, reply))
    assert html.count("agv-layer-overlay") == 2 and "not the model’s words" in html and "agv-measured" in html


def test_the_sliders_move_either_side_of_a_comparison_and_its_sentences(session, desk, photo, clean):
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    finish(ask(session, desk, "compare with the first image", [], Settings()))
    other = last(session).compared
    session.selected_reply_id = other.reply_id
    assert adjust(session, 1.0, 0.5, 0) is other
    said = compare.sentences(session, last(session), "en")
    assert "Image 1: nothing marked, borderline" in said[1] and "different slider values" in said[-1]
    assert "same number of regions" in said[2]
    handlers.undo(session)
    assert list(session.folder.glob(f"{other.reply_id}-*")) == []


def test_a_visitor_who_is_alone_waits_for_his_photo_not_for_earlier_questions(session, desk, engine, photo):
    begun, go_on = threading.Event(), threading.Event()
    engine.prepare = lambda image: begun.set() or go_on.wait(10)
    handlers.encode_ahead(session, desk, None, [photo])
    assert begun.wait(10)
    stages = []
    for reply in ask(session, desk, "segment", [photo], Settings(mode="direct")):
        stages += [reply.stage[0]] if reply is not None and reply.stage else []
        if say("preparing") in stages:
            go_on.set()
    assert say("preparing") in stages and not any("earlier question" in stage for stage in stages)
    assert last(session).prediction is not None


def test_the_speck_of_a_large_photo_is_no_choice_of_the_user(session, desk, photo):
    """A threshold moved at a large photo once made its speck the next photo's smallest region, and hid defects."""
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    reply = last(session)
    reply.facts = reply.facts | {"min_area_px": 2704}  # as the engine gives it at 27 MP
    assert session.shown_knobs == Knobs(0.5, 0.5, 2704)
    *_, smallest = draw.sliders(session)
    assert smallest["value"] == 2704 <= smallest["maximum"]  # beyond the maximum, every slider would fail
    session.move_knob("threshold", 0.6)
    assert session.knobs == Knobs(0.6, 0.5, 0)
    session.move_knob("min_area_px", 50)
    assert session.knobs == Knobs(0.6, 0.5, 50)


def test_a_slider_moved_while_the_words_stream_moves_the_mask_that_is_there(session, desk, photo):
    """It once snapped back when the reply ended, and was not taken."""
    moved_at = None
    for reply in ask(session, desk, "segment", [photo], Settings(mode="explain")):
        if reply is not None and reply.prediction is not None and moved_at is None:
            moved_at = reply.text
            session.move_knob("threshold", 1.0)
            assert adjust(session, threshold=1.0) is reply and reply.running
    reply = last(session)
    assert moved_at == "" and reply.text and reply.facts["threshold"] == 1.0 and reply.facts["verdict"] == "normal"
    assert session.shown_knobs == session.knobs == Knobs(1.0, 0.5, 0)
    assert json.loads(asset(reply, "json").read_text())["threshold"] == 1.0
    assert not np.asarray(Image.open(asset(reply, "mask"))).any() and say("words_before") in html(session, desk)


@pytest.mark.parametrize("mode", ["describe", "explain"])
def test_a_slider_moved_before_the_mask_is_there_is_where_the_mask_starts(session, desk, photo, mode):
    for reply in ask(session, desk, "segment", [photo], Settings(mode=mode)):
        if reply is not None and reply.stage and reply.prediction is None:
            session.move_knob("threshold", 1.0)
            assert adjust(session, threshold=1.0) is None  # nothing to move yet
    reply = last(session)
    assert reply.facts["verdict"] == "normal" and session.shown_knobs.threshold == 1.0
    finish(ask(session, desk, "segment", [], Settings(mode=mode)))  # an earlier move is not taken twice
    assert last(session).facts["threshold"] == 0.5


def test_a_slider_moved_during_the_first_of_several_photos_holds_for_the_rest(session, desk, engine, photo, clean):
    for _ in ask(session, desk, "segment", [photo, clean], Settings(mode="direct")):
        if len(engine.seen) == 1 and not session.late_knobs:
            session.move_knob("threshold", 0.9)
    assert [request.threshold for _, request in engine.seen] == [0.5, 0.9]
    assert [e.reply.facts["threshold"] for e in session.exchanges] == [0.9, 0.9]


def test_a_comparison_of_a_small_photo_with_a_large_one_warns_only_of_moved_sliders(session, desk, photo, clean):
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    finish(ask(session, desk, "compare with the first image", [], Settings()))
    reply = last(session)
    large, small = {"size_hw": [5200, 5200], "min_area_px": 2704}, {"size_hw": [400, 400], "min_area_px": 16}
    reply.facts, reply.compared.facts = reply.facts | large, reply.compared.facts | small
    for moved, told in ((16, False), (500, False), (9000, True)):
        reply.compared.facts = reply.compared.facts | {"min_area_px": moved}
        lines = compare.sentences(session, reply, "en")
        assert (say("compare_settings") in lines) == told, moved


def test_comparing_with_an_image_that_is_not_there_is_answered_with_a_sentence(session, desk, engine, photo):
    finish(ask(session, desk, "compare with image 3", [photo], Settings()))
    assert "no image 3" in last(session).errors[0] and engine.seen == []


def test_words_about_a_mask_that_the_sliders_moved_say_so(session, desk, photo):
    """They once named nine regions beside a verdict of eight."""
    finish(ask(session, desk, "segment", [photo], Settings(mode="explain")))
    for threshold, told in ((0.5, False), (0.9, True), (0.5, False)):
        adjust(session, threshold, 0.5, 0)
        assert (say("words_before") in html(session, desk)) == told


def test_a_kind_comes_back_when_the_threshold_does(session, desk, photo):
    """The mask was once moved from the moved mask, so that kinds were lost after an empty one."""
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    kinds = [r.kind for r in last(session).prediction.regions]
    assert kinds == ["stain", "hole"]
    adjust(session, 1.0, 0.5, 0)
    adjust(session, 0.5, 0.5, 0)
    assert [r.kind for r in last(session).prediction.regions] == kinds


def test_kinds_are_listed_beside_the_picture_in_the_table_and_in_the_facts(session, desk, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    html = "".join(content for _, content in draw.reply_parts(session, last(session)))
    assert "stain</em>" in html and "hole?</em>" in html  # the second is less than half sure
    assert "stain</em>" in draw.side(session)[1] and "Kind</th>" in draw.side(session)[1]
    facts = json.loads(asset(last(session), "json").read_text())
    assert [(r["kind"], r["kind_score"]) for r in facts["regions"]] == [("stain", 0.9), ("hole", 0.4)]


def test_a_scale_that_was_said_measures_the_table_and_the_facts(session, desk, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    assert " px</td>" in draw.side(session)[1]
    before = last(session)
    finish(ask(session, desk, "1 px is 0.5 mm", [], Settings(mode="direct")))
    assert before.facts["mm_per_px"] == json.loads(asset(before, "json").read_text())["mm_per_px"] == 0.5
    facts = json.loads(asset(last(session), "json").read_text())
    region = facts["regions"][0]
    assert facts["mm_per_px"] == 0.5 and region["length_mm"] == pytest.approx(region["length_px"] / 2, rel=1e-3)
    assert " mm</td>" in draw.side(session)[1]


def test_images_are_bounded(session, desk, tmp_path):
    for n in range(MAX_IMAGES + 3):
        path = tmp_path / f"{n}.png"
        spotted(1, size_hw=(40, 40), seed=n).save(path)
        handlers.read_upload(session, str(path))
    assert len(session.images) == MAX_IMAGES


def test_a_reply_whose_image_was_forgotten_is_still_drawn(session, desk, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    session.images.clear()
    assert draw.reply_parts(session, last(session))
    assert adjust(session, 0.2, 0.5, 0) is None
    assert pick_region(session, last(session).reply_id, 1) is not None


def test_maps_are_bounded_and_old_replies_keep_their_pictures(session, desk, photo, monkeypatch):
    monkeypatch.setattr("demo.session.MAX_MAP_BYTES", 480 * 360 * 16)
    for _ in range(2):
        finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    first, second = (e.reply for e in session.exchanges)
    assert first.prediction is None and second.prediction is not None
    assert asset(first, "overlay").is_file()
    session.selected_reply_id = first.reply_id
    assert adjust(session, 0.1, 0.5, 0) is None
    assert "too old" in draw.side(session)[1]


def test_untrained_weights_draw_no_mask(session, photo):
    finish(ask(session, EngineDesk(["u"], lambda _: untrained_engine()), "segment", [photo], Settings(mode="direct")))
    assert last(session).assets == {}
    html = "".join(content for _, content in draw.reply_parts(session, last(session)))
    assert "untrained weights" in html and "agv-layer" not in html


def test_no_anomaly_is_a_calm_verdict_with_the_highest_suspicion(session, desk, clean):
    finish(ask(session, desk, "segment", [clean], Settings(mode="direct")))
    html = "".join(content for _, content in draw.reply_parts(session, last(session)))
    assert 'data-verdict="normal"' in html and "highest suspicion" in html and "agv-photo" in html


def test_words_and_names_are_escaped(session, desk, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    spotted(1).save(path)
    finish(ask(session, desk, "<script>alert(1)</script>", [str(path)], Settings(mode="direct")))
    parts = [m["content"][0].value for m in draw.messages(session)]
    parts += [content for kind, content in draw.reply_parts(session, last(session)) if kind == "html"]
    assert all("<script" not in part and "<img src=x" not in part for part in parts)


def test_clearing_deletes_the_sessions_files(session, desk, photo):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    folder = session.folder
    session.clear()
    assert not folder.exists() and session.files.created == set() and session.exchanges == []


# --- retry -----------------------------------------------------------------------------------------------------------


def test_a_retry_keeps_the_replys_own_mode_whatever_the_panel_says(session, desk, engine, photo):
    """A retried example was once answered in the panel's mode."""
    finish(ask(session, desk, "segment", [photo], Settings(mode="describe_plus", normal_description="Even metal.")))
    finish(ask_again(session, desk, 0, Settings(mode="direct", threshold=0.3)))
    request = engine.seen[-1][1]
    assert (request.mode, request.normal_description, request.threshold) == ("describe_plus", "Even metal.", 0.3)
    finish(ask_again(session, desk, 0, Settings(mode="direct"), question="other words"))
    assert engine.seen[-1][1].mode == "direct"  # an edited question is a new one


# --- several engines -------------------------------------------------------------------------------------------------


@pytest.fixture
def both():
    """A desk with two engines and one that cannot be loaded."""
    engines = {"fake": FakeEngine(pause_s=0.0), "second": second_engine(pause_s=0.0)}

    def load(name: str):
        if name not in engines:
            raise FileNotFoundError("its weights are not on this machine")
        return engines[name]

    return EngineDesk(["fake", "second", "broken"], load), engines


def html(session: Session, desk: EngineDesk) -> str:
    return "".join(content for _, content in draw.exchange_parts(session, session.exchanges[-1], desk.engine_ids))


@pytest.mark.parametrize("mode", ["direct", "describe", "explain", "chat"])
def test_another_engine_answers_the_last_question_beside_the_first(session, both, photo, mode):
    desk, engines = both
    finish(ask(session, desk, "segment", [photo], Settings(mode=mode, threshold=0.4)))
    first, said = last(session), last(session).text
    assert 'data-agv="other" data-value="second"' in html(session, desk)
    for _ in ask_other(session, desk, "second"):
        assert draw.messages(session, desk.engine_ids)
    (other,) = session.exchanges[0].others
    assert engines["second"].seen[-1][1] == first.request and engines["second"].seen[-1][0].turns == ()
    assert last(session) is first and first.text == said and not other.running and other.card.name == "Second fake"
    assert (other.prediction is not None) == (mode != "chat")
    shown = html(session, desk)
    assert shown.count('class="agv-part"') == 2 and "Fake engine" in shown and "Second fake" in shown
    assert 'data-value="second" title' in shown  # its card is a click away
    assert shown.count("agv-layer-overlay") == (0 if mode == "chat" else 2)
    assert 'data-agv="other" data-value="second"' not in shown and 'data-agv="other" data-value="broken"' in shown


def test_an_engine_that_cannot_be_loaded_loses_nothing_and_may_be_asked_again(session, both, photo):
    desk, engines = both
    finish(ask(session, desk, "segment", [photo], Settings(mode="explain")))
    first, said = last(session), last(session).text
    for _ in range(2):
        finish(ask_other(session, desk, "broken"))
        (other,) = session.exchanges[0].others
        assert "broken" in other.errors[0] and "not on this machine" in other.errors[0] and not other.running
    assert last(session) is first and first.text == said and first.prediction is not None
    assert 'data-agv="other" data-value="broken"' in html(session, desk)
    finish(ask(session, desk, "and now?", [], Settings(mode="chat")))
    assert [t.text for t in engines["fake"].seen[-1][0].turns] == ["segment", said]


def test_the_sliders_move_the_other_engines_mask_alone_and_undo_deletes_its_files(session, both, photo):
    desk, _ = both
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    finish(ask_other(session, desk, "second"))
    (other,) = session.exchanges[0].others
    assert session.selected is other and adjust(session, 1.0, 0.5, 0) is other
    assert other.facts["verdict"] == "normal" and last(session).facts["verdict"] == "anomaly"
    handlers.undo(session)
    assert list(session.folder.glob(f"{other.reply_id}-*")) == []


def test_nothing_else_is_asked_of_another_engine(session, both, photo, clean):
    desk, engines = both
    finish(ask_other(session, desk, "second"))
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    finish(ask(session, desk, "segment", [clean], Settings(mode="direct")))
    finish(ask(session, desk, "compare with the first image", [], Settings(mode="direct")))
    finish(ask_other(session, desk, "second"))
    finish(ask_other(session, desk, "nobody"))
    assert engines["second"].seen == [] and 'data-agv="other"' not in html(session, desk)


def test_another_engine_can_be_stopped_and_a_visitor_who_leaves_it_too(session, both, photo):
    desk, engines = both
    finish(ask(session, desk, "a long one", [photo], Settings(mode="explain")))
    engines["second"].pause_s = 0.02
    for reply in ask_other(session, desk, "second"):
        if reply.text:
            session.stop.set()
    assert session.exchanges[0].others[0].stopped
    running = ask_other(session, desk, "second")
    next(running)
    running.close()
    assert not session.exchanges[0].others[0].running and not session.busy.locked()
    finish(ask_other(session, desk, "second"))
    assert len(session.exchanges[0].others) == 1 and session.exchanges[0].others[0].prediction is not None


def test_a_retry_asks_the_engine_that_answered_and_the_panels_where_none_could(session, both, photo):
    desk, engines = both
    finish(ask(session, desk, "segment", [photo], Settings("second", "direct")))
    finish(ask_again(session, desk, 0, Settings("fake", "direct")))
    assert len(engines["second"].seen) == 2 and not engines["fake"].seen
    finish(ask_again(session, desk, 0, Settings("broken", "direct"), question="segment it"))
    assert "not on this machine" in last(session).errors[0]
    finish(ask_again(session, desk, 0, Settings("fake", "direct")))
    assert len(engines["fake"].seen) == 1 and last(session).prediction is not None


# --- the memory of all visitors --------------------------------------------------------------------------------------


def visitors(tmp_path, count: int, max_bytes: int) -> list[Session]:
    shelf, files = Shelf(max_bytes), FileStore(tmp_path / "cache")
    return [Session(files, shelf) for _ in range(count)]


def test_all_visitors_together_are_bounded_and_who_loses_an_image_is_told(tmp_path, desk, engine, photo, clean):
    one_image = 480 * 360 * (3 + 16)
    first, second, third = visitors(tmp_path, 3, int(2.5 * one_image))
    for session in (first, second, third):
        finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    assert first.images == {} and second.images and third.images
    reply = last(first)
    assert reply.prediction is None and asset(reply, "overlay").is_file()  # the picture stays
    assert "part.png" in cards_of(first) and cards_of(second) == ""
    asked = len(engine.seen)
    finish(ask(first, desk, "and why?", [], Settings(mode="chat")))
    assert "part.png is no longer here" in last(first).errors[0] and len(engine.seen) == asked
    finish(ask(first, desk, "segment", [photo], Settings(mode="direct")))  # added again
    assert not last(first).errors and last(first).prediction is not None and cards_of(first) == ""
    assert second.images == {}  # now the longest unused


def cards_of(session: Session) -> str:
    from demo import cards

    return cards.images(session)


def test_an_image_that_is_being_answered_about_is_never_let_go(tmp_path, desk, photo, clean):
    one_image = 480 * 360 * (3 + 16)
    first, second = visitors(tmp_path, 2, one_image)
    running = ask(first, desk, "segment", [photo], Settings(mode="explain"))
    for reply in running:
        if reply is not None and reply.prediction is not None:
            break
    finish_elsewhere = EngineDesk(["fake"], lambda _: FakeEngine(pause_s=0.0))
    finish(ask(second, finish_elsewhere, "segment", [clean], Settings(mode="direct")))
    assert first.images  # although it was used longest ago
    finish(running)
    assert last(first).prediction is not None and not last(first).errors


def test_image_numbers_stay_when_an_earlier_image_is_let_go(session, desk, photo, clean):
    for path in (photo, clean):
        finish(ask(session, desk, "segment", [path], Settings(mode="direct")))
    first, second = session.images
    assert session.let_go(first)
    finish(ask(session, desk, "segment image 2", [], Settings(mode="direct")))
    assert last(session).request.image_id == second and not last(session).errors
    for words in ("segment the first image", "compare with the first image"):
        finish(ask(session, desk, words, [], Settings(mode="direct")))
        assert "part.png is no longer here" in last(session).errors[0]
        session.current_image_id = second


def test_visitors_who_left_hold_nothing(tmp_path, desk, photo):
    first, second = visitors(tmp_path, 2, 10**9)
    finish(ask(first, desk, "segment", [photo], Settings(mode="direct")))
    first.close()
    assert first.held_bytes() == {} and last(first).prediction is None
    assert second.shelf is first.shelf and copy.deepcopy(first).shelf is first.shelf


def test_a_close_look_is_asked_for(session, engine, desk, photo, monkeypatch):
    asked = []
    respond = engine.respond
    monkeypatch.setattr(
        engine, "respond", lambda c, request, **k: asked.append(request.close) or respond(c, request, **k)
    )
    for close in (False, True):
        finish(ask(session, desk, "segment", [photo], Settings(mode="direct", close=close)))
    assert asked == [False, True]
