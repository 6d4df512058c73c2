"""What people write most often in Chinese, as the English words that rules are read from."""

from __future__ import annotations

import re

_DIGITS = {han: n for n, han in enumerate("一二三四五六七八九", start=1)} | {"两": 2}
_TEN = "十"
_NUMERAL = re.compile(f"[{''.join(_DIGITS)}{_TEN}]+")
_MANY = r"\s*(\d+)\s*[个处条]?"
# in this order: what comes first may hold what comes later
_WORDS: tuple[tuple[str, str], ...] = (
    (r"百分之\s*(\d+(?:\.\d+)?)", r" \1 % "),
    (rf"(?:最多|至多){_MANY}", r", at most \1 "), (rf"最大的?{_MANY}", r", only the \1 largest "),
    (r"(?:小于|不超过|低于)\s*(\d+(?:\.\d+)?)\s*%", r", smaller than \1 % "),
    (r"(?:大于|超过|高于)\s*(\d+(?:\.\d+)?)\s*%", r", larger than \1 % "),
    (r"(?:不要|别)\s*忽略", ", do not ignore "),
    (r"(?:寻找|查找|找出|找|检测|标出|分割)", " look for "), (r"忽略|不要", ", ignore "),
    (r"除了", ", except "), (r"[以之]外", ", "),
    (r"左上[角方侧]?", " in the upper left "), (r"右上[角方侧]?", " in the upper right "),
    (r"左下[角方侧]?", " in the lower left "), (r"右下[角方侧]?", " in the lower right "),
    (r"左[侧边面]", " on the left "), (r"右[侧边面]", " on the right "), (r"上[方边面]", " at the top "),
    (r"下[方边面]", " at the bottom "), (r"中[间央心]", " in the center "),
    (r"划痕", " scratches "), (r"裂[纹缝]", " cracks "), (r"气孔|孔洞|孔", " holes "), (r"污渍|污点", " stains "),
    (r"凹坑|凹痕", " dents "), (r"异物|杂质", " contamination "), (r"锈", " rust "), (r"缺陷|异常|瑕疵", " defects "),
    (r"[和、与及]", " and "), (r"[，。；]", ", "),
)  # fmt: skip


def in_english(words: str) -> str:
    """Return words with the Chinese that is known put into English, and Chinese numerals up to 99 as digits."""
    words = _NUMERAL.sub(lambda numeral: str(_value(numeral[0])), words)
    for pattern, english in _WORDS:
        words = re.sub(pattern, english, words)
    return words


def _value(numeral: str) -> int:
    """Return what is written: 十二 is 12, 二十 is 20, 二十三 is 23."""
    tens, ten, ones = numeral.partition(_TEN)
    return 10 * (_digits(tens) or 1) * bool(ten) + _digits(ones if ten else tens)


def _digits(text: str) -> int:
    return int("".join(str(_DIGITS.get(han, 0)) for han in text) or 0)
