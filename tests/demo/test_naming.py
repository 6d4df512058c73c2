"""Questions about two photos that say neither "compare" nor "than"."""

import pytest

from demo.handlers import Settings, ask
from demo.naming import compared_images
from tests.demo.test_handlers import finish


@pytest.mark.parametrize(
    ("words", "compares"),
    [
        ("which of these two is worse?", True), ("Which of the two images has more defects?", True),
        ("which one has the fewest defects?", True), ("which picture is cleaner?", True),
        ("which part is more damaged?", True), ("which image has the larger hole?", True),
        ("which of them is larger?", False), ("which region is worse?", False), ("which defect is the largest?", False),
        ("which kind is it?", False),
    ],
)  # fmt: skip
def test_which_of_two_photos(session, desk, photo, clean, words, compares):
    finish(ask(session, desk, "segment", [photo], Settings(mode="direct")))
    assert compared_images(session, words) is None  # there is one
    finish(ask(session, desk, "segment", [clean], Settings(mode="direct")))
    first, second = session.images
    assert compared_images(session, words) == ((second, first) if compares else None)
