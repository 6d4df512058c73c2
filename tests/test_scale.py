"""Scale: what people say of pixels and millimeters is read, and nothing else is taken for it."""

import numpy as np
import pytest

from agvas_core import scale as scale_module
from agvas_core.scale import Scale, read_scale, scale_of, without_object_size
from agvas_core.structures import Conversation, InspectionImage, Request, Turn

HW = (480, 640)
PLAIN = InspectionImage("plain", np.zeros((*HW, 3), dtype=np.uint8))


def with_part(size_hw, box):
    """A bright part, rows and columns of box, before a dark background."""
    rgb = np.full((*size_hw, 3), 40, dtype=np.uint8)
    top, left, bottom, right = box
    rgb[top:bottom, left:right] = 180
    return InspectionImage("part", rgb)


@pytest.mark.parametrize(
    ("said", "mm"),
    [
        ("1 px is 0.05 mm", 0.05), ("1px=0.05mm", 0.05), ("one pixel is about 0.05 mm", 0.05), ("0,05 mm/px", 0.05),
        ("A pixel is 12 µm", 0.012), ("pixel size is 12um", 0.012), ("pixel pitch of 5 microns", 0.005),
        ("20 px per mm", 0.05), ("20 pixels/mm", 0.05), ("0.05 mm per pixel, please", 0.05), ("1 mm = 20 px", 0.05),
        ("10 pixels are 1 mm", 0.1), ("scale: 1 px = 50 nm", 5e-5), ("600 dpi", 25.4 / 600),
        ("The image is 40 mm wide", 40 / 640), ("image width: 4 cm", 40 / 640), ("the picture is 30 mm tall", 30 / 480),
        ("the field of view is 40 x 30 mm", 40 / 640), ("fov 30 mm × 40 mm", 40 / 640),
        ("the photo is 64 mm long", 0.1),
        ("the image is 64 m wide", 100.0), ("the image is 32m wide", 50.0), ("the width of this image is 64 mm", 0.1),
        ("1像素=0.05毫米", 0.05), ("每像素0.05毫米", 0.05), ("图像宽50毫米", 50 / 640),
    ],
)  # fmt: skip
def test_a_scale_alone_is_read_and_asks_for_nothing(said, mm):
    scale, rest = read_scale(said, PLAIN)
    assert scale is not None and scale.mm_per_px == pytest.approx(mm) and rest == ""


@pytest.mark.parametrize(
    "said",
    ["", "is it larger than 2 mm?", "the scratch is 2 mm wide", "are there scratches 2 mm long in the image?",
     "only defects above 20 px", "is the image 40 mm wide?", "the image shows 3 holes", "1 px is 0 mm",
     "the image is blurry", "a pixel is 1e30 mm", "The crack in this image is 3 mm long", "part of the image is 2 mm",
     "the image shows 3 mm wide scratches", "the picture is 2 mm² too small"],
)  # fmt: skip
def test_other_words_say_no_scale_and_are_left_whole(said):
    assert read_scale(said, PLAIN) == (None, said)


def test_a_question_beside_a_scale_is_kept():
    scale, rest = read_scale("The image is 40 mm wide. How long is the scratch?", PLAIN)
    assert scale == Scale(0.0625) and rest == "How long is the scratch?"
    assert read_scale("how long is it if 1 px is 0.05 mm?", PLAIN)[1] == "how long is it if 1 px is 0.05 mm?"


def test_the_newest_scale_counts_a_width_only_for_images_of_that_size():
    large, small = (
        InspectionImage(name, np.zeros((*size, 3), dtype=np.uint8))
        for name, size in (("large", HW), ("small", (48, 64)))
    )
    talk = Conversation().with_image(large).with_image(small).with_turn(Turn("user", "1 px is 0.2 mm", "large"))
    assert scale_of(talk, Request("", "small", mm_per_px=3.0)) == Scale(0.2)
    talk = talk.with_turn(Turn("assistant", "1 px is 7 mm", "large")).with_turn(
        Turn("user", "it is 64 mm wide", "large")
    )
    assert scale_of(talk, Request("", "large")) == Scale(0.2)
    talk = talk.with_turn(Turn("user", "the image is 64 mm wide", "large"))
    assert scale_of(talk, Request("", "large")) == Scale(0.1) and scale_of(talk, Request("", "small")) == Scale(0.2)
    assert scale_of(talk, Request("1 px = 1 mm", "small")) == Scale(1.0)
    silent = Conversation().with_image(small)
    assert scale_of(silent, Request("", "small")) is None and scale_of(talk, Request("1 px = 1 mm")) is None
    assert scale_of(silent, Request("", "small", mm_per_px=3.0)) == Scale(3.0)


def test_lengths_and_areas_come_in_units_that_are_read_easily():
    scale = Scale(0.05)
    assert [scale.length(px) for px in (1, 3, 64, 200, 30_000)] == ["50 µm", "0.15 mm", "3.2 mm", "10 mm", "1.5 m"]
    assert [scale.area(px) for px in (1, 10, 520, 1e6)] == ["2,500 µm²", "0.025 mm²", "1.3 mm²", "2,500 mm²"]
    assert Scale(5e-5).length(1) == "50 nm"


PART = with_part((480, 640), (140, 200, 340, 500))  # 200 px high, 300 px wide


@pytest.mark.parametrize(
    ("said", "px", "side"),
    [
        ("The nut is 30 mm wide.", 300, "wide"), ("this hex nut is about 30 mm across", 300, "wide"),
        ("the part is 30 mm high", 200, "high"), ("The plate measures 30 mm in length", 300, "long"),
        ("the width of the washer is 30 mm", 300, "wide"), ("the washer's diameter is 3 cm", 250, "across"),
        ("零件宽30毫米", 300, "wide"),
    ],
)  # fmt: skip
def test_the_size_of_the_object_sets_the_scale(said, px, side):
    scale, rest = read_scale(said, PART)
    assert scale is not None and rest == ""
    assert scale.mm_per_px == pytest.approx(30 / px, rel=0.02)
    assert scale.measured.endswith(f"px {side}")


@pytest.mark.parametrize(
    "said",
    ["is the nut 30 mm wide?", "the nut is 30 mm", "the hole in the nut is 3 mm wide", "the missing part is 3 mm wide",
     "the scratch on the plate is 3 mm long", "ignore what is 2 mm wide", "the chip is 3 mm wide",
     "the crack near the cap is 3 mm long", "only marks on the plate larger than 2 mm"],
)  # fmt: skip
def test_the_size_of_something_else_sets_none(said):
    assert read_scale(said, PART) == (None, said) and without_object_size(said) is None


def test_the_objects_size_holds_for_its_own_image():
    said = Turn("user", "The nut is 30 mm wide.", PART.image_id)
    talk = Conversation().with_image(PART).with_image(PLAIN).with_turn(said)
    assert scale_of(talk, Request("how long is it?", PART.image_id)) == read_scale(said.text, PART)[0]
    assert scale_of(talk, Request("how long is it?", PLAIN.image_id)) is None


def test_an_image_is_searched_for_its_object_once(monkeypatch):
    searched = []
    monkeypatch.setattr(scale_module, "object_hw", lambda rgb: searched.append(rgb) or (100.0, 300.0))
    part = with_part((480, 640), (140, 200, 340, 500))
    assert {read_scale("The nut is 30 mm wide.", part)[0] for _ in range(3)} == {Scale(0.1)}
    assert len(searched) == 1


def test_what_is_asked_beside_the_objects_size_is_kept():
    said = "Is it good? The nut is 30 mm wide, how long is the chip?"
    scale, rest = read_scale(said, PART)
    assert scale is not None and rest == "Is it good? how long is the chip?" == without_object_size(said)


def test_without_one_object_before_an_even_background_its_size_sets_none():
    said = "The nut is 30 mm wide."
    busy = InspectionImage("busy", np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8))
    two = with_part((480, 640), (100, 50, 380, 250))
    two.rgb.flags.writeable = True
    two.rgb[100:380, 400:600] = 180
    for image in (PLAIN, busy, two):
        assert read_scale(said, image) == (None, said) and without_object_size(said) == ""
