"""Scale: what people say of pixels and millimeters is read, and nothing else is taken for it."""

import numpy as np
import pytest

from agvas_core.scale import Scale, read_scale, scale_of
from agvas_core.structures import Conversation, InspectionImage, Request, Turn

HW = (480, 640)


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
    scale, rest = read_scale(said, HW)
    assert scale is not None and scale.mm_per_px == pytest.approx(mm) and rest == ""


@pytest.mark.parametrize(
    "said",
    ["", "is it larger than 2 mm?", "the scratch is 2 mm wide", "are there scratches 2 mm long in the image?",
     "only defects above 20 px", "is the image 40 mm wide?", "the image shows 3 holes", "1 px is 0 mm",
     "the image is blurry", "a pixel is 1e30 mm", "The crack in this image is 3 mm long", "part of the image is 2 mm",
     "the image shows 3 mm wide scratches", "the picture is 2 mm² too small"],
)  # fmt: skip
def test_other_words_say_no_scale_and_are_left_whole(said):
    assert read_scale(said, HW) == (None, said)


def test_a_question_beside_a_scale_is_kept():
    scale, rest = read_scale("The image is 40 mm wide. How long is the scratch?", HW)
    assert scale == Scale(0.0625) and rest == "How long is the scratch?"
    assert read_scale("how long is it if 1 px is 0.05 mm?", HW)[1] == "how long is it if 1 px is 0.05 mm?"


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
