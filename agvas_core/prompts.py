"""What the language model reads: instructions, the measured line, and the chat's text with its control tokens."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agvas_core.anchors import ANCHOR_TEXT, ANCHOR_TOKENS
from agvas_core.kinds import ENGLISH, asked_pattern
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
_MODE_HINTS: dict[Mode, str] = {
    "describe": "Describe it and segment it.",
    "describe_plus": "Describe it and segment it.",
    "explain": "Segment it and explain.",
}
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


# --- which mode ------------------------------------------------------------------------------------------------------

_ASKS = re.compile(
    r"^(?:and |but |so |ok |okay |hi |hello |hey )*"
    r"(?:why|what|where|wheres|whats|how|is|are|was|were|does|do|did|has|have|which|who|when|any)\b"
)
_SEGMENT = re.compile(
    r"\b(?:re)?segment|\b(?:outline|highlight|delineate|locali[sz]e|circle|annotate|encircle|pinpoint|contour)\b"
    r"|\bmark\b(?! (?:on|in|at)\b)|\bdetect\b|\bfind (?:me )?(?:the|all|any|every\w*|only|just|what\w*|out where)\b"
    r"|\b(?:show|give|draw|create|make|produce|generate|return|want|need)\b.*\b(?:masks?|segmentation|outlines?|contours?|regions?)\b"
    r"|\bshow (?:me )?(?:only|just|all|where|the|every\w*|any)\b|\bpoint (?:to|out|at)\b"
    r"|分割|标出|标记|圈出|勾出|掩码|定位|检测出|找出|高亮"
)
_EXPLAIN = re.compile(
    r"\bexplain|\bexplanation|\bwhy\b|\breasons?\b|\bjustify|\bgive reasoning|为什么|为何|解释|原因|理由|说明"
)
_DESCRIBE = re.compile(r"\bdescri(?:be|ption)|\bin words\b|描述|形容")
_INSPECT = re.compile(
    r"^(?:please |can you |could you |just )*"
    r"(?:inspect|check|analy[sz]e|examine|look (?:at|for)|search|watch for|scan)\b|检查|检测(?!报告)|分析"
)
_DEFECT = re.compile(
    r"\b(?:anomal|defect|flaw|fault|(?:un)?damage|abnormal|problem|issues?\b|unusual|wrong|broken"
    r"|scratch|crack|(?:pin|blow)? ?holes?\b|pits?\b|pitt|dents?\b|dented|bump|stain|discolo|contaminat|fib(?:er|re)"
    r"|missing|chip|deform|misprint|corros|rust|burn|blur|foreign)|异常|缺陷|瑕疵|问题"
)
_THAT = re.compile(r"\b(?:it|them)\b")
_REFER = re.compile(
    r"\b(?:only|regions? \d|just the|just that|except|but not|other than|largest|biggest|smallest"
    r"|left|right|upper|lower|top|bottom|cent(?:er|re)|middle"
    r"|(?:dark|bright|black|white|gray|grey|brown|red|reddish|yellow\w*|blue|bluish|green\w*|purpl\w*|pink|orange)"
    r" (?:one|ones|defect|spot|area))\b"
    r"|只|仅|最大|最小|左|右|上方|下方|中间|中央|" + "|".join(asked_pattern(kind) for kind in ENGLISH)
)
_ASIDE = re.compile(
    r"\ball right\b|\balright\b|\bright (?:now|away|here)\b|\bat (?:the )?(?:least|most)\b|\beven the \w+|\bleft over\b"
)
_SENTENCES = re.compile(r"[.;!?。；！？\n]+(?:\s|$)|[。；！？]")
_POINTS = re.compile(
    r"segment|\b(?:mark|outline|highlight|circle|show|find|only|just|except|but not|other than|exclud\w+|leave out"
    r"|ignor\w+)\b"
    r"|分割|标|圈|只|仅|除了|忽略"
)
_PRONOUN = re.compile(r"\b(?:it|them|that|this|these|those)\b")
_ALL_BUT = re.compile(
    r"\b(?:ignore|exclude|leave out)\s+(?:everything|all)(?:\s+else)?\s+(?:but|except(?: for)?|other than)\b"
)
_SIDE_OF_THING = re.compile(  # the side of a part is no side of the picture
    r"\b(?:the|its|this|that|your|a)\s+(?:left|right|upper|lower|top|bottom|middle|cent(?:er|re))\s+"
    r"(?:cover|plate|panel|lid|cap|housing|cas(?:e|ing)|shell|layer|surface|sheet|board|bracket|flange|wall|rail|glass|lens"
    r"|screen|door|bolt|screw|nut|gear|wheel|pipe|tube|shaft|bearing|film|foil|coating|deck|frame|bar|rod|arm|button|key"
    r"|pin|connector)s?\b"
)
_SCENE = re.compile(
    r"\b(?:surface|image|picture|photo|material|object|part|texture|background|scene|normal|should|report)\b|表面|图像|图片|材料|报告"
)
_JUDGES = re.compile(
    r"\b(?:good|ok|okay|ng|nok|fine|normal|pass|fail|accept\w*|reject\w*|scrap|ship|clean|perfect|verdict"
    r"|where|what (?:do|can|did) you (?:see|find)|how (?:many|much|big|large|bad|severe|serious))\b"
    r"|合格|正常|哪里|哪儿|几个|多少|多大|严重"
)
_PLEASANTRY = re.compile(
    r"(?:\W*\b(?:hi|hello|hey|there|ok|okay|good (?:morning|afternoon|evening|day)|thanks|thank you|thx|bye|great|fine"
    r"|perfect|cool|nice|very|much|a lot|so)\b\W*)+|.*\b(?:where|how) are you\b.*"
)
_IDEAL = re.compile(r"\bshould\b.*\blook\b|\b(?:good|normal) (?:one|part|piece|surface) looks? like\b|应该是什么样")
_SURE = re.compile(
    r"\b(?:how|so|quite|really|you) (?:sure|certain|confident)\b|\bconfidence\b|\bprobability\b|\bhow likely\b"
    r"|\b(?:what is the|whats the|the anomaly) score\b|多大把握|确定吗|置信度"
)
_FOLLOW_UP = re.compile(r"\bwhy\b|\bexplain(?: (?:it|this|that|them|please))*\W*$|为什么|为何")
_KEYWORDS = (
    "segment", "segmentation", "highlight", "outline", "localize", "localise", "circle", "detect", "describe",
    "description", "explain", "inspect", "examine", "analyze", "analyse", "everything", "please",
)  # fmt: skip
_CLAUSES = re.compile(r"[.?!,;:\n。？！，；、]+|\b(?:and|then)\b")


def pointing_words(instruction: str) -> str:
    """Return a user's words in lower case, without those that only look as if they pointed.

    "all right" does not; nor does a side of a thing that is no defect ("the top cover"), nor a sentence beside the one
    that asks ("The holes are normal."), unless that only says "it".
    """
    text = _ALL_BUT.sub("only", sanitize(instruction).casefold())
    sentences = [s for s in _SENTENCES.split(text) if s.strip()]
    asking = [s for s in sentences if _POINTS.search(s)]
    told = all(_PRONOUN.search(s) and not _DEFECT.search(s) for s in asking)  # elsewhere, or nothing asks
    return _SIDE_OF_THING.sub(" ", _ASIDE.sub(" ", ". ".join(sentences if told else asking)))


def singles_out(instruction: str) -> bool:
    """Return whether the words ask for one of several: "only the scratch", "the one on the left"."""
    return bool(_REFER.search(pointing_words(instruction)))


def asks_about_defects(instruction: str) -> bool:
    """Return whether a question is about what is wrong in the image, so that a mask belongs to its answer."""
    text = _folded(instruction)
    if _IDEAL.search(text) or _PLEASANTRY.fullmatch(text):
        return False
    return bool(_DEFECT.search(text) or _JUDGES.search(text))


def asks_how_sure(instruction: str) -> bool:
    """Return whether a question is about how sure the answer is."""
    return bool(_SURE.search(_folded(instruction)))


def follows_up(instruction: str) -> bool:
    """Return whether a question is about the mask before it: "why is that not normal?"."""
    return bool(_FOLLOW_UP.search(_folded(instruction)))


def _names_flaw(text: str) -> bool:
    """Return whether words speak of what is wrong, be it as "it"."""
    return bool(_DEFECT.search(text) or _THAT.search(text))


def _folded(instruction: str) -> str:
    """Return a user's words as the patterns here read them."""
    return sanitize(instruction).casefold().replace("’", "").replace("'", "")


def choose_mode(instruction: str, has_image: bool, has_previous_mask: bool = False) -> Mode:
    """Return how to answer in "auto": by the words, in English or Chinese; never returns "auto" itself."""
    text = re.sub(r"[a-z]{6,}", lambda word: _spelled(word[0]), _folded(instruction))
    if not has_image:
        return "chat"
    if not text:
        return "explain"
    clauses = [c.strip() for c in _CLAUSES.split(text) if c.strip()]
    orders = [c for c in clauses if not _ASKS.match(c)]
    if any(_SEGMENT.search(c) for c in orders):
        if _EXPLAIN.search(text):
            return "explain"
        if _DESCRIBE.search(text):
            return "describe"
        # the words after the mask can say that nothing matched, so a request for one of several is answered with words
        return "explain" if singles_out(instruction) else "direct"
    if _DESCRIBE.search(text) and not _ASKS.match(text):
        return "describe" if _names_flaw(text) or not _SCENE.search(text) else "chat"
    if has_previous_mask and re.match(r"^(?:please |now |and |then )*(?:only|just) (?:the|that)\b|^只", text):
        return "explain"
    if re.match(r"^(?:please |now |and |but |then )*(?:ignore|exclude|leave out|without|except)\b|^忽略", text):
        return "explain" if _DEFECT.search(text) or _REFER.search(text) else "chat"
    if _EXPLAIN.search(text):
        return "chat" if (has_previous_mask and _FOLLOW_UP.search(text)) or not _names_flaw(text) else "explain"
    if any(_INSPECT.search(c) for c in orders):
        return "explain"
    return "chat"


def _spelled(word: str) -> str:
    """Return the keyword that a mistyped word was meant to be, or the word."""
    if word.startswith(_KEYWORDS):
        return word
    return next(iter(difflib.get_close_matches(word, _KEYWORDS, n=1, cutoff=0.85)), word)


def build_instruction(mode: Mode, instruction: str, normal_description: str = "") -> str:
    """Return what the model is asked: the user's words or the mode's default, and the normal sentence before it.

    Words that do not ask for the picked mode get a short hint, so that a describing mode describes.
    """
    text = instruction.strip() or DEFAULT_INSTRUCTIONS[mode]
    asked = "describe" if mode == "describe_plus" else mode
    if mode in _MODE_HINTS and choose_mode(text, has_image=True) != asked:
        text = f"{text} {_MODE_HINTS[mode]}"
    normal = normal_description.strip() if mode == "describe_plus" else ""
    return f"{normal} {text}" if normal else text
