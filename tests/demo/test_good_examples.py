"""Good examples on the page: the strip's badge, the chip, what is kept for them, and what comes by REST."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agvas_core.good_parts import good_images
from agvas_core.processing import open_image
from agvas_core.structures import Request
from demo import cards
from demo.desk import EngineDesk
from demo.follow_ups import follow_ups
from demo.handlers import Settings, ask_other, read_upload
from demo.handlers import ask as answer
from demo.i18n import say
from demo.rest import build_segment
from demo.session import MAX_IMAGES, FileStore
from tests.demo.pictures import spotted
from tests.fakes import CARD, FakeEngine, second_engine

GOOD_PART = "This is a good part."


@pytest.fixture
def photos(tmp_path) -> list[str]:
    """Paths of three small photos."""
    paths = [str(tmp_path / f"{name}.png") for name in ("one", "two", "three")]
    for seed, path in enumerate(paths):
        spotted(seed % 2, size_hw=(60, 80), seed=seed).save(path)
    return paths


def ask(session, desk, words, *paths, mode="direct"):
    for _ in answer(session, desk, words, paths, Settings(mode=mode)):
        pass


def compared_with(engine) -> list[str]:
    """Return the names of the good examples that came with the engine's last question."""
    return [image.name for image in good_images(*engine.seen[-1])]


def labels(session) -> list[str]:
    """Return what stands below the pictures of the strip."""
    shown = cards.images(session)
    return [part.split("</span>")[0] for part in shown.split("<span>")[1:]]


# --- the page --------------------------------------------------------------------------------------------------------


def test_good_images_carry_a_badge_on_the_strip(session, desk, photos):
    ask(session, desk, GOOD_PART, photos[0])
    assert labels(session) == ["Image 1 · ✓ good · current"]  # alone, too
    ask(session, desk, "segment", photos[1])
    assert labels(session) == ["Image 1 · ✓ good", "Image 2 · current"]
    session.lang = "zh"
    assert labels(session)[0] == f"图像 1 · {say('good_example', 'zh')}"
    session.lang = "en"
    ask(session, desk, "This one is fine, too.")
    assert [("good" in label) for label in labels(session)] == [True, True]
    ask(session, desk, "Forget the good examples.")
    assert [("good" in label) for label in labels(session)] == [False, False]


def test_the_next_images_are_asked_about_beside_the_good_ones(session, desk, engine, photos):
    ask(session, desk, f"{GOOD_PART} Segment the anomalies.", photos[0])
    assert compared_with(engine) == ["one.png"]
    ask(session, desk, "segment", photos[1])
    assert compared_with(engine) == ["one.png"]
    ask(session, desk, "Is this one good?", photos[2])
    assert compared_with(engine) == ["one.png"]
    ask(session, desk, GOOD_PART)
    assert compared_with(engine) == ["one.png", "three.png"]


def test_an_image_that_the_words_name_is_the_one_that_is_good(session, desk, engine, photos):
    for path in photos:
        ask(session, desk, "segment", path)
    ask(session, desk, "Image 2 is good.")
    assert compared_with(engine) == ["two.png"] and ["good" in label for label in labels(session)] == [
        False,
        True,
        False,
    ]
    ask(session, desk, "The first image is a good part.")
    assert compared_with(engine) == ["two.png", "one.png"]
    ask(session, desk, "The second image is not good after all.")
    assert compared_with(engine) == ["one.png"]


def test_several_photos_that_come_together_are_all_good(session, desk, engine, photos):
    ask(session, desk, "These are good parts.", *photos)
    assert compared_with(engine) == ["one.png", "two.png", "three.png"]


def test_words_on_good_examples_reach_the_engine_and_not_the_pages_own_answers(session, desk, engine, photos):
    """To "save this as a good example" was told where the downloads are, "all images are normal" got a summary."""
    for path in photos:
        ask(session, desk, "segment", path)
    for words in ("Save this as a good example.", "All images are normal.", "Clear the good examples."):
        before = len(engine.seen)
        ask(session, desk, words)
        assert len(engine.seen) == before + 1, words
    assert compared_with(engine) == []


def test_a_good_part_is_offered_as_a_chip_until_it_is_one(session, desk, photo, clean):
    ask(session, desk, "segment", photo, mode="explain")
    assert GOOD_PART not in follow_ups(session, session.exchanges[-1])  # something is marked there
    ask(session, desk, "segment", clean, mode="explain")
    assert follow_ups(session, session.exchanges[-1])[-1] == GOOD_PART
    assert f'data-value="{GOOD_PART}"' in cards.next_questions(follow_ups(session, session.exchanges[-1]), "en")
    ask(session, desk, "I know that this one is good.", mode="chat")
    assert GOOD_PART not in follow_ups(session, session.exchanges[-1])
    session.lang = "zh"
    assert say("next_good", "zh") not in follow_ups(session, session.exchanges[-1])
    session.lang = "en"
    ask(session, desk, "It is not good after all.", mode="chat")
    assert GOOD_PART in follow_ups(session, session.exchanges[-1])


def test_the_chip_says_it_in_both_languages(session, desk, clean):
    session.lang = "zh"
    ask(session, desk, "segment", clean)
    chip = follow_ups(session, session.exchanges[-1])[-1]
    ask(session, desk, chip, mode="auto")
    assert chip == say("next_good", "zh") and session.good_ids() == (session.current_image_id,)


def test_a_heat_map_offers_no_comparison(session, clean):
    heat = EngineDesk(["heat"], lambda _: FakeEngine(pause_s=0.0, card=replace(CARD, heat_map_only=True)))
    ask(session, heat, "segment", clean, mode="explain")
    offered = follow_ups(session, session.exchanges[-1])
    assert offered and GOOD_PART not in offered


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_good_images_stay_when_others_are_let_go(session, desk, engine):
    def photo(seed):
        return open_image(np.full((4, 4, 3), seed, np.uint8), name=f"{seed}")

    for seed in range(MAX_IMAGES + 3):
        session.add_image(photo(seed))
        ask(session, desk, GOOD_PART if seed in (0, 2) else "segment")
    kept = [image.name for image in session.images.values()]
    assert kept == ["0", "2", *(str(seed) for seed in range(5, MAX_IMAGES + 3))]
    assert compared_with(engine) == ["0", "2"]


def test_where_all_are_good_the_oldest_is_let_go(session, desk, engine):
    for seed in range(MAX_IMAGES + 1):
        session.add_image(open_image(np.full((4, 4, 3), seed, np.uint8), name=f"{seed}"))
        ask(session, desk, GOOD_PART)
    assert [image.name for image in session.images.values()] == [str(seed) for seed in range(1, MAX_IMAGES + 1)]
    assert compared_with(engine) == [str(seed) for seed in range(1, MAX_IMAGES + 1)]
    assert len(session.good_ids()) == MAX_IMAGES


def test_good_images_are_held_while_an_answer_needs_them(session, photos, monkeypatch):
    held, engine = [], FakeEngine(pause_s=0.0)
    respond = FakeEngine.respond
    monkeypatch.setattr(
        FakeEngine, "respond", lambda self, *a, **k: held.append(session.in_use) or respond(self, *a, **k)
    )
    desk = EngineDesk(["fake", "second"], lambda name: engine if name == "fake" else second_engine(pause_s=0.0))
    ids = [read_upload(session, path).image_id for path in photos[:2]]
    ask(session, desk, GOOD_PART, photos[0])
    ask(session, desk, "segment", photos[1])
    for _ in ask_other(session, desk, "second"):
        pass
    assert held == [{ids[0]}, set(ids), set(ids)] and session.in_use == frozenset()


def test_another_engine_is_asked_beside_them_too(session, photos):
    engines = {"fake": FakeEngine(pause_s=0.0), "second": second_engine(pause_s=0.0)}
    desk = EngineDesk(list(engines), engines.__getitem__)
    ask(session, desk, GOOD_PART, photos[0])
    ask(session, desk, "segment", photos[1])
    for _ in ask_other(session, desk, "second"):
        pass
    assert compared_with(engines["second"]) == ["one.png"]


# --- REST ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def segment(desk, tmp_path):
    """The endpoint's function; what was uploaded lies beside the photos."""
    return build_segment(desk, FileStore(tmp_path / "answers"), lambda: tmp_path)


def test_segment_takes_photos_of_good_parts(segment, engine, photos):
    uploaded = [{"path": path} for path in photos]
    segment(uploaded[0], good=uploaded[1:])
    assert compared_with(engine) == ["two.png", "three.png"]
    conversation, request = engine.seen[-1]
    assert conversation.images[request.image_id].name == "one.png"
    for nothing in ({}, {"good": None}, {"good": []}):
        segment(uploaded[0], **nothing)
        assert compared_with(engine) == [] and list(engine.seen[-1][0].images) == [request.image_id]
    segment(uploaded[0], good=uploaded[:1])
    assert compared_with(engine) == ["one.png"]


@pytest.mark.parametrize(
    ("good", "said"),
    [
        ("part.png", "`good` must be a list of uploaded files"),
        ({"path": "part.png"}, "`good` must be a list of uploaded files"),
        (3, "`good` must be a list of uploaded files"),
        ([None], "`good` must be an uploaded file"),
        ([3], "`good` must be an uploaded file"),
        ([{"url": "http://127.0.0.1/part.png"}], "`good` must be an uploaded file"),
        ([{"path": "/etc/passwd"}], "`good` must be a file uploaded to this page; paths on the server are not read"),
        ([{"path": "UPLOADS/../secret.png"}], "`good` must be a file uploaded to this page"),
        ([{"path": "UPLOADS/words.png"}], "`good`: This file is a text file"),
        ([{"path": "UPLOADS/one.png"}, {"path": "UPLOADS/missing.png"}], "`good` must be a file uploaded"),
    ],
)
def test_segment_says_what_is_wrong_with_them_and_asks_no_engine(desk, engine, tmp_path, good, said):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    for path in (uploads / "one.png", tmp_path / "secret.png"):
        spotted(0, size_hw=(60, 80)).save(path)
    (uploads / "words.png").write_text("This is a good part.")
    if isinstance(good, list):
        good = [{**f, "path": f["path"].replace("UPLOADS", str(uploads))} if isinstance(f, dict) and "path" in f else f
                for f in good]  # fmt: skip
    segment = build_segment(desk, FileStore(tmp_path / "answers"), lambda: uploads)
    with pytest.raises(ValueError, match=said) as refused:
        segment({"path": str(uploads / "one.png")}, good=good)
    assert str(Path(tmp_path)) not in str(refused.value) and engine.seen == []


def test_a_talk_without_words_on_it_has_no_good_examples(session, desk, photos):
    ask(session, desk, "Is this a good part?", photos[0])
    assert session.good_ids() == () and session.good_ids(GOOD_PART) == (session.current_image_id,)
    assert good_images(session.conversation(), Request("", session.current_image_id)) == ()


def test_more_good_photos_than_are_compared_with_are_refused_in_a_sentence(photo, tmp_path):
    desk = EngineDesk(["fake"], lambda _: FakeEngine())
    segment = build_segment(desk, FileStore(tmp_path), lambda: Path(photo).parent)
    with pytest.raises(ValueError, match="at most 24 photos; there are 25"):
        segment({"path": photo}, good=[{"path": photo}] * 25)
