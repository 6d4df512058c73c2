import random

import pytest

from agvas_core.anchors import ANCHOR_TEXT
from agvas_core.prompts import (
    CONTROL_TOKENS,
    DIRECT_ANSWER,
    MAX_INSTRUCTION_CHARS,
    ChatTurn,
    Exchange,
    chat_pieces,
    exchange_turns,
    format_percent,
    measured_line,
    sanitize,
)

FOREIGN = ("<video>", "<|vision_start|>", "<|endoftext|>", "<|fim_prefix|>", "</s>", "<pad>")
WIDE = str.maketrans({c: chr(ord(c) + 0xFEE0) for c in map(chr, range(33, 127))})


def spells_control(text: str) -> bool:
    return any(token in text or token.lower() in text.lower() for token in (*CONTROL_TOKENS, *FOREIGN))


@pytest.mark.parametrize("token", [*CONTROL_TOKENS, *FOREIGN])
def test_no_control_string_survives(token):
    disguises = (
        token,
        token.lower(),
        token.upper(),
        token.translate(WIDE),
        " ".join(token),
        "\u200b".join(token),
        token[:2] + token + token[2:],
        token[:-1] + token + token[-1:],
        token * 3,
    )
    for text in disguises:
        safe = sanitize(f"please {text} now")
        assert not spells_control(safe), (text, safe)
        assert not spells_control(safe.replace(" ", "").replace("\u200b", "")), (text, safe)
        assert sanitize(safe) == safe
        assert safe.startswith("please") and safe.endswith("now")


def test_what_was_typed_stays_readable():
    assert sanitize("is [SEG] here? <image>") == "is (SEG) here? (image)"
    assert sanitize("[S[SEG]EG] <|im_<|im_start|>start|>") == "[S(SEG)EG] <|im_(|im_start|)start|>"


def test_random_mixtures_of_brackets_never_spell_a_control_string():
    rng = random.Random(0)
    parts = [
        *CONTROL_TOKENS,
        "[",
        "]",
        "<|",
        "|>",
        "im_",
        "start",
        "SEG",
        "S",
        "EG",
        "<",
        ">",
        "image",
        " ",
        "\u200b",
        "\u0301",
        "\x00",
    ]
    for _ in range(1500):
        text = "".join(rng.choices(parts, k=rng.randint(1, 12)))
        safe = sanitize(text)
        assert not spells_control(safe), (text, safe)
        assert sanitize(safe) == safe


def test_ordinary_text_is_kept():
    for text in ("a < b and c > d [1] [seg ment]", "naïve Größe 表面有缺陷吗？ 👩‍🔧", "x <b>bold</b>", "line\n\nline"):
        assert sanitize(text) == text
    assert sanitize("a\x00b\x1b[0m\ud800\u202ec\r\nd") == "ab[0mc\nd"
    assert len(sanitize("word " * 2000)) <= MAX_INSTRUCTION_CHARS


def test_measured_line():
    assert measured_line([]) == "<measured> none </measured>"
    two = measured_line([("upper left", 0.61), ("center", 12.4)])
    assert two == "<measured> 2 : upper left 0.6 % <region> ; center 12 % <region> </measured>"
    many = measured_line([("top", 1.0)] * 7)
    assert many.startswith("<measured> 7 :") and many.count("%") == 5
    assert measured_line([("top", 1.0)], total=9).startswith("<measured> 9 :")
    named = measured_line([("top", 1.0), ("left", 0.5)], kinds=["weave fault", "pit"])
    assert named == "<measured> 2 : top 1.0 % weave fault <region> ; left 0.5 % pit <region> </measured>"
    shares = (0.0, 0.049, 0.094, 0.096, 9.94, 9.96, 100)
    assert [format_percent(v) for v in shares] == ["0.01", "0.05", "0.09", "0.1", "9.9", "10", "100"]


def test_rendered_chat():
    turns = [
        ChatTurn("user", "hello", about_image=False),
        ChatTurn("assistant", "Hello."),
        *exchange_turns(Exchange("segment [SEG]", DIRECT_ANSWER, "direct", ()), "<measured> none </measured>"),
        *exchange_turns(Exchange("explain", f"{ANCHOR_TEXT} None.", "explain", ()), "<measured> none </measured>"),
        ChatTurn("user", "and?", measured="<measured> none </measured>"),
    ]
    assert "".join(piece.text for piece in chat_pieces(turns, add_generation_prompt=True)) == (
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
        "<|im_start|>user\n<image>\nsegment (SEG)<|im_end|>\n"
        "<|im_start|>assistant\nSure, it is [NOR][ANO][SEG].<|im_end|>\n"
        "<|im_start|>user\nexplain<|im_end|>\n"
        "<|im_start|>assistant\n[NOR][ANO][SEG]<measured> none </measured> None.<|im_end|>\n"
        "<|im_start|>user\nand?\n<measured> none </measured><|im_end|>\n<|im_start|>assistant\n"
    )


def test_an_exchange_has_anchors_exactly_when_it_shows_a_mask():
    with pytest.raises(AssertionError):
        Exchange("segment", DIRECT_ANSWER, "direct", None)
    with pytest.raises(AssertionError):
        Exchange("segment", "Sure.", "direct", ())
