"""What a user says is no defect after all: "region 2 is fine", "the stain is a false alarm" leave it out."""

from __future__ import annotations

import re

from agvas_core.kinds import ENGLISH, asked_pattern

MOST_CHARS = 200  # of a sentence that excuses something
IT = "ignore it"

_BEFORE = (
    r"(?:(?:no|yes|but|and|so|well|ok|okay|actually|sorry|note(?: that)?|i (?:think|know|see|said)|please|hey|hm+|sure"
    r"|right|wait|in fact|fyi|here)[ ,:]+)*"
)
_NUMBERS = r"#?\d{1,2}(?:(?: ?, ?| ?& ?| ?- ?| and | or | to |, and )#?\d{1,2})*"
_KIND = f"(?:{'|'.join(map(asked_pattern, ENGLISH))})"
_WHERE = r"(?: (?:in|on|at|near) (?:the )?[a-z -]{2,30}?)?"
_ONE = rf"(?:(?:finding|defect|region|one|mark|marking|spot|area|detection)s?|{_KIND})"
_NAMED = (
    rf"(?:(?:regions?|findings?|numbers?|#) ?{_NUMBERS}"
    rf"|(?:the|that|those|these|this|both|all|all the)(?: [a-z-]+){{0,3}}? {_ONE}{_WHERE})"
)
_POINTED = r"(?:that|it|those|these|they|this)"
_IS = (
    r"(?: (?:is|are|was|were|looks?|seems?)(?: to be)?|s|re)"
    r"(?: (?:just|only|really|actually|all|quite|both|simply|totally))*"
)
_NOT = r"(?: (?:is|are|was|were)nt| (?:is|are|was|were) not| is no longer|s not|re not)(?: (?:really|actually))*"
_DEFECTS = (
    r"(?:an? |any |the )?(?:real |actual |true )?(?:defect|fault|flaw|anomal(?:y|ie)|problem|issue|damage|error)s?"
)
_ALARM = (
    r"(?:an? )?(?:false (?:alarm|positive|detection|call|mark)|mistake|wrong detection|art[ei]fact|shadow"
    r"|reflection)s?"
)
_MEANT = (
    r"(?:intended|intentional|on purpose|by design|allowed|acceptable|permitted|harmless|tolerable|expected|irrelevant"
    rf"|(?:meant|supposed) to be (?:there|like (?:that|this))|part of (?:it|the [a-z ]+)|no {_DEFECTS})"
)
_FINE = r"(?:fine|ok|okay|normal|good|in order|alright|all right)"
_AFTER = (
    r"(?:[ ,;.]+(?:though|too|as well|please|actually|here|there"
    r"|(?:and |so |but )?(?:please )?(?:mark|show|segment|keep|leave)(?: me)?(?: only)?"
    r" (?:the (?:rest|others?|remaining ones?)|everything else|what is left)"
    r"|(?:so |and )?(?:please )?(?:ignore|remove|drop|exclude|hide|delete|skip) (?:it|them|that|those)))*"
)
_EXCUSES = re.compile(
    rf"{_BEFORE}(?:(?P<named>{_NAMED})(?:{_IS} (?:{_ALARM}|{_MEANT}|{_FINE})|{_NOT} {_DEFECTS})"
    rf"|(?P<pointed>{_POINTED})(?:{_IS} (?:{_ALARM}|{_MEANT})|{_NOT} {_DEFECTS})){_AFTER}"
)
_CHINESE = re.compile(
    r"(?P<named>区域\s*\d{1,2}|第\s*\d{1,2}\s*[个处])\S{0,2}(?:是正常的?|没有?问题|不是缺陷|是误报|误报)"
)


def as_order(words: str) -> str | None:
    """Return an order to leave out what words excuse ("ignore region 2", "ignore it"), or None where they do not.

    A question excuses nothing, nor does "that is fine", which is said of an answer, too.
    """
    if len(words) > MOST_CHARS or words.rstrip().endswith(("?", "？")):
        return None
    text = " ".join(words.casefold().replace("’", "").replace("'", "").split()).strip(" .!,;。！，")
    if found := _CHINESE.fullmatch(text):
        return f"忽略{found['named']}"
    found = _EXCUSES.fullmatch(text)
    if found is None:
        return None
    return IT if found["named"] is None else f"ignore {found['named']}"
