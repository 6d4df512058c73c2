"""What people write most often in Chinese, as the English words that rules are read from."""

from __future__ import annotations

import re

_DIGITS = {han: n for n, han in enumerate("一二三四五六七八九", start=1)} | {"两": 2}
_TEN = "十"
_NUMERAL = re.compile(f"[{''.join(_DIGITS)}{_TEN}]+")
_MANY = r"\s*(\d+)\s*[个处条]?"
# what stands before its noun in Chinese, behind it in English: a size or a place, "小于1%的划痕"
_BEFORE = re.compile(
    r"((?:(?:面积|长度|宽度)?(?:小于|不超过|低于|大于|超过|高于)|[长短宽窄]于)\s*\d[^的，。；,;]*|(?:左|右|上|下|中间|中央|中心|边[缘沿])[^的，。；,;]{0,2})"
    r"的([^，。；,;]+)"
)
# in this order: what comes first may hold what comes later
_WORDS: tuple[tuple[str, str], ...] = (
    (r"百分之\s*(\d+(?:\.\d+)?)", r" \1 % "),
    (rf"(?:最多|至多){_MANY}", r", at most \1 "), (rf"最大的?{_MANY}", r", only the \1 largest "),
    (r"平方毫米", " mm² "), (r"毫米", " mm "), (r"微米", " um "), (r"像素", " px "),
    (r"(?:长度(?:小于|不超过)|短于)\s*(?=\d)", " shorter than "),
    (r"(?:长度(?:大于|超过)|长于)\s*(?=\d)", " longer than "),
    (r"(?:宽度(?:小于|不超过)|窄于)\s*(?=\d)", " narrower than "),
    (r"(?:宽度(?:大于|超过)|宽于)\s*(?=\d)", " wider than "),
    (r"(?:小于|不超过|低于)\s*(?=\d)", " smaller than "), (r"(?:大于|超过|高于)\s*(?=\d)", " larger than "),
    (r"(?:不要|别)\s*忽略", ", do not ignore "), (r"(?:不要|别)\s*(?:标出|标记|显示|报告|检测)", ", ignore "),
    (r"(?<!不)可以(?:接受|忽略)|(?<!有)没有?问题|是正常的", " are fine "),
    (r"(?:寻找|查找|找出|找|检测|标出|分割)", " look for "), (r"忽略|不要", ", ignore "),
    (r"除了", ", except "), (r"[以之]外", ", "),
    (r"左上[角方侧]?", " in the upper left "), (r"右上[角方侧]?", " in the upper right "),
    (r"左下[角方侧]?", " in the lower left "), (r"右下[角方侧]?", " in the lower right "),
    (r"左半[边侧]?(?:部分)?", " in the left half "), (r"右半[边侧]?(?:部分)?", " in the right half "),
    (r"上半(?:部分?)?", " in the upper half "), (r"下半(?:部分?)?", " in the lower half "),
    (r"左[侧边面]", " on the left "), (r"右[侧边面]", " on the right "), (r"上[方边面]", " at the top "),
    (r"下[方边面]", " at the bottom "), (r"中[间央心]", " in the center "),
    (r"(?:靠近)?边[缘沿](?:附近)?", " near the edge "), (r"灰尘", " dust "), (r"纤维|毛发", " fibers "),
    (r"划痕", " scratches "), (r"裂[纹缝]", " cracks "), (r"气孔|孔洞|孔", " holes "), (r"污渍|污点", " stains "),
    (r"凹坑|凹痕", " dents "), (r"异物|杂质", " contamination "), (r"锈", " rust "), (r"缺陷|异常|瑕疵", " defects "),
    (r"[和、与及]", " and "), (r"[，。；]", ", "),
)  # fmt: skip


def in_english(words: str) -> str:
    """Return words with the Chinese that is known put into English, and Chinese numerals up to 99 as digits."""
    words = _BEFORE.sub(r"\2\1", _NUMERAL.sub(lambda numeral: str(_value(numeral[0])), words))
    for pattern, english in _WORDS:
        words = re.sub(pattern, english, words)
    return words


def _value(numeral: str) -> int:
    """Return what is written: 十二 is 12, 二十 is 20, 二十三 is 23."""
    tens, ten, ones = numeral.partition(_TEN)
    return 10 * (_digits(tens) or 1) * bool(ten) + _digits(ones if ten else tens)


def _digits(text: str) -> int:
    return int("".join(str(_DIGITS.get(han, 0)) for han in text) or 0)
