"""Which of a conversation's images the words mean: "the first image", "image 2", "compare with the other one"."""

from __future__ import annotations

import re

from agvas_core.kinds import kinds_in
from demo.i18n import say
from demo.session import Session

_ORDINALS = {
    "first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4, "fifth": 5, "5th": 5,
}  # fmt: skip
_CHINESE = {"一": 1, "二": 2, "三": 3, "四": 4, "五": 5}
# What makes the number after "image" a measure, not an image's number: "the image 5 % ...", "image 2.5 mm", "5-10 px".
_UNIT = (
    r"(?:[%‰°×]|(?:percent|per cent|degrees?|times|long|wide|pixels?|px[²2]?|[kmcµu]?m[²2]?|inch\w*|megapixels?|mp)\b"
    r"|微米|毫米|厘米|像素|倍|度|[个处])"
)
_MEASURE = rf"(?:[.,]\d|\s*(?:(?:[-–~]|to)\s*\d+(?:[.,]\d+)?\s*)?{_UNIT}|\s*[x×*]\s*\d)"
_DIGITS = rf"\d{{1,2}}(?!\w)(?!{_MEASURE})"
_REFERENCE = (
    rf"(?:the |an? |that |this )?(?:{'|'.join(_ORDINALS)}|last|latest|previous|other)\s+"
    r"(?:image|picture|photo|part|one)\b"
    rf"|(?:the )?(?:image|picture|photo)\s*#?\s*{_DIGITS}"
)
_NAMED = re.compile(
    rf"\b(?P<word>{'|'.join(_ORDINALS)}|last|latest|previous|other)\s+(?:image|picture|photo)\b"
    rf"|\b(?:image|picture|photo)\s*#?\s*(?P<number>{_DIGITS})"
    r"|第\s*(?P<chinese>[一二三四五]|\d{1,2})\s*(?:[张幅]|个(?=图|照片|相片))"
    rf"|(?:图像|图片)\s*(?P<plain>\d{{1,2}}(?!\d)(?!{_MEASURE}))"
    r"|(?P<before>[上前]一[张幅个])",
    re.I,
)
# A comparison is one of two images only when an image itself is what is compared: "compare it with the first image",
# "worse than in image 2", "compare both images"; not "are there more than two scratches in the first image?".
_COMPARING = r"\b(?:compare|comparing|compared|comparison|difference|differences|differ|differs|different|versus|vs)\b"
# "which of these two is worse?" means images; "which of them is larger?" rather regions, unless it says images
_WHICH_IMAGE = (
    r"\bwhich (?:one )?(?:of )?(?:the |these |those |my |both )?(?:two |both )?(?:images?|pictures?|photos?)\b"
    r"(?=.*\b(?:worse|worst|better|best|cleaner|more|most|fewer|fewest|less|least|bigger|larger|smaller|is|has)\b)"
    r"|\bwhich (?:(?:one )?(?:of (?:the|these|those|them|both)(?: two)?(?: parts| pieces)?|part|piece|one)\s+)?"
    r"(?:is|looks?|has|shows?)\b(?=.*\b(?:worse|worst|better|best|cleaner|more (?:damaged|defective)"
    r"|(?:more|most|fewer|fewest|less|least) (?:defects?|damage|anomalies|flaws?))\b)"
    r"|哪一?[张幅]\w{0,4}(?:好|差|坏|严重|干净)"
)
_JUDGED = r"(?:look )?(?:any |much )?(?:better|worse|cleaner)\b(?! than)"
_COMPARES = re.compile(
    rf"(?<!why )\b(?:is|does) (?:{_REFERENCE}|(?:this|that) (?:image|picture|photo|part|one)) {_JUDGED}"
    rf"|\bthan\s+(?:(?:that|those|it is|the ones?)\s+)?(?:(?:in|on|of)\s+)?(?:{_REFERENCE})"
    rf"|{_COMPARING}(?=.*\b(?:with|to|from|against|and|between|versus|vs)\s+(?:(?:that|those|the ones?|it)\s+)?"
    rf"(?:(?:in|on|of)\s+)?(?:{_REFERENCE}))"
    rf"|{_COMPARING}\W+(?:(?:of|between)\s+)?(?:{_REFERENCE})"
    rf"|{_COMPARING}(?=.*\b(?:both|(?:the |these )?two)\s+(?:images|pictures|photos|parts)\b)"
    rf"|{_COMPARING}(?=.*\b(?:both|them|the two|these two|each other)\s*[.?!]?\s*$)"
    rf"|{_WHICH_IMAGE}"
    r"|[和与跟同比对](?:[上前]一[张幅个]|第\s*(?:[一二三四五]|\d{1,2})\s*[张幅个]|另[一外]*[张幅个]"
    rf"|(?:图像|图片)\s*\d{{1,2}}(?!\d)(?!{_MEASURE}))"
    r"(?!(?:图|图像|图片|照片)?\s*[里中上])(?=.*(?:比|差|更|不同|区别|一样))"
    r"|(?:比较|对比|比一比)(?:一下)?(?:第\s*(?:[一二三四五]|\d{1,2})\s*[张幅个]|[上前]一[张幅个]|另[一外]*[张幅个]|[两这二]+[张幅个])"
    r"(?!(?:图|图像|图片|照片)?\s*[里中上])",
    re.I,
)
_ONE = re.compile(r"\b(?:one|part)\b", re.I)
# "and in the first?", "compare with the second": an image, where no word says that it is something else
_NO_NOUN = re.compile(
    rf"\b((?:in|on|with|to|and|vs) the (?:{'|'.join(_ORDINALS)}|last|previous|other))"
    r"(?=\s*(?:again|please)?\s*[.?!,]*\s*$)",
    re.I,
)
_NOUN = re.compile(r"\b(?:ones?|regions?|findings?)\b", re.I)
_IN_IMAGE = re.compile(rf"\s*\b(?:in|on|of|for|from) (?:{_REFERENCE}),?", re.I)
# what says no more than that another image is meant: "and this one?", "go back to the first image", "same again please"
_SAYS_NOTHING = re.compile(
    r"(?:\b(?:and|now|so|ok|okay|then|but|please|also|too|again|next|here|there|same|the|this|that|it|ones?|question"
    r"|thing|do|try|check|look|go|going|back|at|to|return|switch|what|how|about|with|in|of|for|on|image|picture|photo|part"
    r"|last|let|me|us|you|can|could)\b|那么?|这|请|再|也|回到|换|看看?|一下|一?[张个幅]|图像?|照片|呢|\W)*",
    re.I,
)

_IMAGE = re.compile(r"\b(?:image|picture|photo)s?\b|[张幅图]", re.I)
_OTHER = re.compile(
    rf"{_WHICH_IMAGE}|\b(?:this|that) (?:image|picture|photo|part|one) {_JUDGED}|"
    r"\b(?:other|both|two)\s+(?:image|picture|photo|part)s?\b|\bother one\b"
    r"|\b(?:both|them|the two|these two|each other)\s*[.?!]?\s*$|另[一外]*[张幅个]|[两这二]+[张幅个]",
    re.I,
)


def image_in_words(session: Session, words: str) -> str | None:
    """Return the id of the image that the words name ("the first image"), or None; a comparison names none.

    Right after a comparison of two images, "the first one" is an image, too; else it may be a region.

    Raises:
        ValueError: when the words name an image that is not there; a sentence for the user.
    """
    words = _with_noun(words)
    if session.exchanges and session.exchanges[-1].reply.compared is not None:
        words = _ONE.sub("image", words)
    ids, numbers = list(session.seen), _numbers(session, words)
    if not ids or not numbers or _COMPARES.search(words):
        return None
    return ids[_checked(session, numbers[0]) - 1] if len(ids) > 1 or numbers[0] > 1 else None


def question_before(session: Session, words: str) -> str | None:
    """Return what was asked of the image before, where words only say that another one is meant: "and this one?".

    Of an image that was not looked at yet, that is what brought a mask last.
    """
    before = [e.reply for e in session.exchanges if not e.reply.refused]
    if not before or (before[-1].compared is None and before[-1].request.image_id == session.current_image_id):
        return None
    if not _SAYS_NOTHING.fullmatch(_NAMED.sub(" ", _ONE.sub("image", _with_noun(words)))):
        return None
    known = any(reply.facts and reply.request.image_id == session.current_image_id for reply in session.replies())
    asked = [r for r in before if r.compared is None and not _NAMED.search(_with_noun(r.request.instruction))]
    looked = [reply for reply in asked if reply.facts]  # a new image is looked at first: no "and why?" of it
    return next((r.request.instruction for r in reversed((not known and looked) or asked)), say("no_question"))


def without_image(words: str) -> str:
    """Return what is asked of an image that the words name: of "in image 2, only the hole" the hole."""
    return _IN_IMAGE.sub("", words).strip() or words


def _with_noun(words: str) -> str:
    """Return "in the first" as "in the first image", unless the words speak of regions or kinds of defects."""
    if _NOUN.search(words) or kinds_in(words):
        return words
    return _NO_NOUN.sub(r"\1 image", words)


def _checked(session: Session, number: int) -> int:
    """Return the number of an image that is there; ValueError with a sentence for the user otherwise."""
    if not 1 <= number <= len(session.seen):
        raise ValueError(say("no_such_image", session.lang, n=number, count=len(session.seen)))
    return number


def compared_images(session: Session, words: str) -> tuple[str, str] | None:
    """Return the ids of the image that the words are about and the one to compare it with, or None.

    Raises:
        ValueError: when the words compare with an image that is not there; a sentence for the user.
    """
    ids, current, words = list(session.seen), session.current_image_id, _with_noun(words)
    if current not in ids or not _COMPARES.search(words):
        return None
    if len(ids) == 1 and not _IMAGE.search(words):
        return None  # "is the second region larger than the first one?"
    numbers = _numbers(session, _ONE.sub("image", words))  # "than the first one"
    named = list(dict.fromkeys(ids[_checked(session, n) - 1] for n in numbers))
    if len(named) >= 2:
        return named[0], named[1]
    others = [i for i in named if i != current] or [i for i in ids if i != current][-1:]
    if named and not others:
        raise ValueError(say("one_image", session.lang))
    return (current, others[0]) if others and (named or _OTHER.search(words)) else None


def _numbers(session: Session, words: str) -> list[int]:
    """Return the 1-based numbers of the images that the words name, in the order of the words; some may not exist."""
    ids = list(session.seen)
    here = ids.index(session.current_image_id) + 1 if session.current_image_id in ids else len(ids)
    found = []
    for match in _NAMED.finditer(words):
        word = (match["word"] or "").lower()
        if word == "other":
            rest = [n for n in range(len(ids), 0, -1) if n != here]
            found += rest[:1]
        elif match["before"] or word == "previous":
            found.append(max(1, here - 1))
        elif word:
            found.append(_ORDINALS.get(word, len(ids)))
        else:
            digits = match["number"] or match["chinese"] or match["plain"]
            found.append(_CHINESE.get(digits, 0) or int(digits))
    return found
