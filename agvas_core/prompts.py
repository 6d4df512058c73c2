"""What the language model reads: instructions, the measured line, and the chat's text with its control tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agvas_core.anchors import ANCHOR_TEXT, ANCHOR_TOKENS
from agvas_core.structures import Mode

END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VICUNA_START, VICUNA_END = "<s>", "</s>"
VICUNA_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
IMAGE_TOKEN, REGION_TOKEN = "<image>", "<region>"
MEASURED_OPEN, MEASURED_CLOSE = "<measured>", "</measured>"
CONTROL_TOKENS: tuple[str, ...] = (
    END_OF_TEXT, IM_START, IM_END, IMAGE_TOKEN, REGION_TOKEN, MEASURED_OPEN, MEASURED_CLOSE, *ANCHOR_TOKENS,
)  # fmt: skip

MAX_INSTRUCTION_CHARS = 2000
MAX_MEASURED_REGIONS = 5

DIRECT_ANSWER = f"Sure, it is {ANCHOR_TEXT}."
DEFAULT_INSTRUCTIONS: dict[Mode, str] = {
    "auto": "Please segment the anomalies in this image and explain.",
    "direct": "Please segment the anomalies in this image.",
    "describe": "Please describe the anomalies in this image and segment them.",
    "describe_plus": "Please describe the anomalies in this image and segment them.",
    "explain": "Please segment the anomalies in this image and explain.",
    "chat": "What do you see in this image?",
}
# Appended when the user picked a mode that his own words do not ask for.
# Which turn carries the measured line: the question, or the answer directly after its anchors. Direct answers have no
# words to ground. Paper differs: its describe mode takes place, count and size from the pixels alone.
MEASURED_SLOT: dict[Mode, Literal["user", "assistant"] | None] = {
    "direct": None, "describe": "user", "describe_plus": "user", "explain": "assistant", "chat": "user",
}  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """One question and its true answer, made from facts.

    Attributes:
        instruction: the user's words.
        answer: the assistant's words; they hold "[NOR][ANO][SEG]" once if target is not None, else never.
        mode: never "auto".
        target: None when the answer shows no mask, else the indices of the defects shown (() is the empty mask).
        kind: which family of questions it belongs to ("count", "refer", ...), for statistics.
    """

    instruction: str
    answer: str
    mode: Mode
    target: tuple[int, ...] | None
    kind: str = ""

    def __post_init__(self) -> None:
        assert self.answer.count(ANCHOR_TEXT) == (self.target is not None), self


@dataclass(frozen=True)
class ChatTurn:
    """One message as the language model reads it.

    Attributes:
        role: who speaks.
        text: the message; a user's is made safe while rendering, an assistant's may hold the three anchors.
        about_image: the image placeholder stands in the first user turn where this is True.
        measured: a measured_line; after the text of a user's turn, after the anchors of an assistant's turn.
    """

    role: Literal["user", "assistant"]
    text: str
    about_image: bool = True
    measured: str = ""


class Piece(NamedTuple):
    """A stretch of the chat: a control token or plain text, and whether the model is to say it."""

    text: str
    special: bool
    answer: bool


# --- rendering -------------------------------------------------------------------------------------------------------


def chat_pieces(turns: Sequence[ChatTurn], add_generation_prompt: bool = False) -> Iterator[Piece]:
    """Yield the chat in order, control tokens apart from plain text; no plain piece can spell a control token."""
    image_due = True
    for turn in turns:
        yield Piece(IM_START, True, False)
        if turn.role == "user":
            text = sanitize(turn.text)
            if turn.about_image and image_due:
                image_due = False
                yield Piece("user\n", False, False)
                yield Piece(IMAGE_TOKEN, True, False)
                yield Piece(f"\n{text}", False, False)
            else:
                yield Piece(f"user\n{text}", False, False)
            if turn.measured:
                yield Piece("\n", False, False)
                yield from _measured_pieces(turn.measured)
            yield Piece(IM_END, True, False)
        else:
            yield Piece("assistant\n", False, False)
            yield from _answer_pieces(turn)
            yield Piece(IM_END, True, True)
        yield Piece("\n", False, False)
    if add_generation_prompt:
        yield Piece(IM_START, True, False)
        yield Piece("assistant\n", False, False)


def vicuna_pieces(turns: Sequence[ChatTurn], add_generation_prompt: bool = False) -> Iterator[Piece]:
    """Yield the chat as LLaVA-1.5's language model reads it: USER: ... ASSISTANT: ...</s>; it has no measured line.

    Every plain piece gets a leading blank from this family's tokenizer, as LLaVA's own pieces do.
    """
    yield Piece(VICUNA_START, True, False)
    before, image_due = f"{VICUNA_SYSTEM} USER:", True
    for i, turn in enumerate(turns):
        if turn.role == "user":
            text = sanitize(turn.text)
            if turn.about_image and image_due:
                image_due = False
                yield Piece(before, False, False)
                yield Piece(IMAGE_TOKEN, True, False)
                text = f"\n{text}"
            else:
                text = f"{before} {text}"
            answered = i + 1 < len(turns) or add_generation_prompt
            yield Piece(f"{text} ASSISTANT:" if answered else text, False, False)
        else:
            yield from _answer_pieces(turn)
            yield Piece(VICUNA_END, True, True)
        before = "USER:"


def _answer_pieces(turn: ChatTurn) -> Iterator[Piece]:
    before, anchors, after = turn.text.strip().partition(ANCHOR_TEXT)
    if before:
        yield Piece(defuse(before), False, True)
    if anchors:
        for token in ANCHOR_TOKENS:
            yield Piece(token, True, True)
    if turn.measured:
        yield from _measured_pieces(turn.measured)
    if after:
        yield Piece(defuse(after), False, True)


def _measured_pieces(line: str) -> Iterator[Piece]:
    yield Piece(MEASURED_OPEN, True, False)
    inner = line.removeprefix(MEASURED_OPEN).removesuffix(MEASURED_CLOSE)
    for n, part in enumerate(inner.split(REGION_TOKEN)):
        if n:
            yield Piece(REGION_TOKEN, True, False)
        if part:
            yield Piece(defuse(part), False, False)
    yield Piece(MEASURED_CLOSE, True, False)


def exchange_turns(exchange: Exchange, measured: str) -> tuple[ChatTurn, ChatTurn]:
    """Return an exchange's two turns, the measured line in the slot of its mode."""
    slot = MEASURED_SLOT[exchange.mode]
    question = ChatTurn("user", exchange.instruction, measured=measured if slot == "user" else "")
    return question, ChatTurn("assistant", exchange.answer, measured=measured if slot == "assistant" else "")


# --- what the mask measured ------------------------------------------------------------------------------------------


def format_percent(area_percent: float) -> str:
    """Return a share in per cent in few characters: 0.05, 0.6, 3.4, 12."""
    if area_percent < 0.095:
        return f"{max(area_percent, 0.01):.2f}"
    return f"{area_percent:.1f}" if area_percent < 9.95 else f"{area_percent:.0f}"


def listed_regions(count: int) -> int:
    """Return how many of so many regions a measured line lists, and so how many region placeholders it has."""
    return min(count, MAX_MEASURED_REGIONS)


def measured_line(
    regions: Sequence[tuple[str, float]], total: int | None = None, kinds: Sequence[str] | None = None
) -> str:
    """Return what a mask measured, from (place, area in per cent of the image), largest first.

    Each listed region ends in its kind of defect, where kinds are known, and a region placeholder, which the model's
    region token replaces: what lies under its mask.
    At most MAX_MEASURED_REGIONS are listed; the count in front is the true one (total, when the list is already cut).
    """
    count = len(regions) if total is None else total
    if not count:
        return f"{MEASURED_OPEN} none {MEASURED_CLOSE}"
    shown = regions[: listed_regions(count)]
    names = [f"{kind} " if kind else "" for kind in kinds or [""] * len(shown)]
    listed = " ; ".join(
        f"{place} {format_percent(area)} % {name}{REGION_TOKEN}"
        for (place, area), name in zip(shown, names, strict=False)
    )
    return f"{MEASURED_OPEN} {count} : {listed} {MEASURED_CLOSE}"


# --- what users type -------------------------------------------------------------------------------------------------

_HARMFUL = re.compile(r"\[(?:nor|ano|seg)\]|</?(?:image|region|video|measured|pad|unk|s)>|<\|[^<>|]{0,40}\|>")
_INVISIBLE = frozenset("\u00ad\u200b\u2060\ufeff\u180e")  # zero width; joiners stay, emoji and Indic scripts need them
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def sanitize(text: str) -> str:
    """Return a user's words with control strings altered ("[SEG]" becomes "(SEG)") and control characters dropped.

    All other Unicode is kept. At most MAX_INSTRUCTION_CHARS characters. Applying it twice changes nothing more.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    keep = (c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs"))
    text = "".join(c for c in keep if c not in _INVISIBLE and c not in _BIDI)
    return defuse(re.sub(r"\n{3,}", "\n\n", text).strip()[:MAX_INSTRUCTION_CHARS].rstrip())


def skeleton(text: str) -> tuple[str, list[int]]:
    """Return what is left of a text without case, width and spacing, and from which character each of it comes."""
    kept, source = [], []
    for i, char in enumerate(text):
        for c in unicodedata.normalize("NFKC", char).casefold():
            if not c.isspace() and unicodedata.category(c) not in ("Cf", "Mn", "Cc"):
                kept.append(c)
                source.append(i)
    return "".join(kept), source


def defuse(text: str, harmful: re.Pattern[str] = _HARMFUL) -> str:
    """Replace the outer brackets of all whose skeleton reads as a control string.

    Characters are replaced one for one and never removed, so that no new control string can come together.
    """
    chars = list(text)
    while True:
        plain, source = skeleton("".join(chars))
        matches = list(harmful.finditer(plain))
        if not matches:
            return "".join(chars)
        for match in matches:
            chars[source[match.start()]] = "("
            chars[source[match.end() - 1]] = ")"
