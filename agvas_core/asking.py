"""What a user asks for by his words: in which mode to answer, all that is wrong or a part, something about the mask."""

from __future__ import annotations

import re

from agvas_core.counting import COUNT_WORDS, NTH, NUMBERED
from agvas_core.excuses import as_order
from agvas_core.kinds import ENGLISH, asked_pattern
from agvas_core.prompts import DEFAULT_INSTRUCTIONS, sanitize
from agvas_core.spelling import respelled
from agvas_core.structures import Mode

_MODE_HINTS: dict[Mode, str] = {
    "describe": "Describe it and segment it.",
    "describe_plus": "Describe it and segment it.",
    "explain": "Segment it and explain.",
}

_ASKS = re.compile(
    r"^(?:and |but |so |ok |okay |hi |hello |hey )*"
    r"(?:why|what|where|wheres|whats|how|is|are|was|were|does|do|did|has|have|which|who|when|any)\b"
)
_SEGMENT = re.compile(
    r"\b(?:re)?segment|\b(?:outline|highlight|delineate|locali[sz]e|circle|annotate|encircle|pinpoint|contour)\b"
    r"|\bmark\b(?! (?:on|in|at)\b)|\bmask (?:only|just|the|all|every\w*|region)\b|\bdetect\b"
    r"|\bfind (?:me )?(?:the|all|any|every\w*|only|just|what\w*|out where|suspicious|abnormal)\b"
    r"|\b(?:show|give|draw|create|make|produce|generate|return|want|need)\b.*\b(?:masks?|segmentation|outlines?|contours?|regions?)\b"
    r"|\b(?:only|just) show\b|\bshow (?:me )?(?:only|just|all|where|the|every\w*|any)\b|\bpoint (?:to|out|at)\b"
    r"|分割|标出|标记|圈出|勾出|掩码|定位|检测出|找出|高亮"
)
_EXPLAIN = re.compile(
    r"\bexplain|\bexplanation|\bwhy\b|\breasons?\b|\bjustify|\bgive reasoning|为什么|为何|解释|原因|理由|说明"
)
_DESCRIBE = re.compile(r"\bdescri(?:be|ption)|\bin words\b|描述|形容")
_INSPECT = re.compile(
    r"^(?:please |can you |could you |just )*"
    r"(?:inspect|check|analy[sz]e|examine|look (?:at|for|again|closer)|search|watch for|scan)\b|检查|检测(?!报告)|分析"
)
_DEFECT = re.compile(
    r"\b(?:anomal|defect|flaw|fault|(?:un)?damage|abnormal|problem|issues?\b|unusual|wrong|broken"
    r"|scratch|crack|(?:pin|blow)? ?holes?\b|pits?\b|pitt|dents?\b|dented|bump|stain|discolo|contaminat|fib(?:er|re)"
    r"|missing|chip|deform|misprint|corros|rust|burn|blur|foreign"
    r"|lesions?\b|polyps?\b|nodul|tumou?r|ulcer|suspicious)|异常|缺陷|瑕疵|问题"
)
_THAT = re.compile(r"\b(?:it|them)\b")
_REFER = re.compile(
    r"\b(?:only|just the|just that|except|but not|other than|apart from|outside|largest|biggest|smallest|tiniest"
    rf"|(?:at most|up to|no more than) (?:\d+|{'|'.join(COUNT_WORDS)})|(?:[a-z]+er|more|less) than \d+"
    r"|(?:above|below|over|under) \d+|the (?:larger|bigger|smaller)|(?:big|large|small|tiny) one"
    r"|left|right|upper|lower|top|bottom|cent(?:er|re)|middle"
    r"|(?:dark|bright|black|white|gray|grey|brown|red|reddish|yellow\w*|blue|bluish|green\w*|purpl\w*|pink|orange)"
    r" (?:one|ones|defect|spot|area))\b"
    rf"|{NUMBERED.pattern}|{NTH.pattern}"
    r"|只|仅|最大|最小|左|右|上方|下方|中间|中央|" + "|".join(asked_pattern(kind) for kind in ENGLISH)
)
_ASIDE = re.compile(
    r"\ball right\b|\balright\b|\bright (?:now|away|here)\b|\bat (?:the )?(?:least\b|most\b"
    rf"(?! (?:\d|{'|'.join(COUNT_WORDS)}))"
    r")|\beven the \w+|\bleft over\b"
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
_BARE_NUMBER = re.compile(  # "mask only 1 and 2", "everything except 3"; not "is there only 1?", "only 2 images"
    r"(?<!there )(?<!is )(?<!it )\b(?:only|just|mark|mask|segment|outline|highlight|show|keep|hide|remove|exclude"
    r"|ignore|except|without|but not|compare|between)\s+"
    r"(?=\d{1,2}(?:\s*(?:,|&|-|and|or|to)\s*\d{1,2})*(?: please| now)?\s*(?:[.!?;](?!\d)|$))"
)
_POINTS_ALONE = re.compile(r"^(?:please |now |and |then )*(?:only|just|keep) (?:(?:the|that|what|regions?)\b|#?\d)|^只")
_NOUNS_ALONE = re.compile(  # "the largest hole please", "both holes"; no sentence
    r"(?:now |and |then )*(?:the|both|all|regions?|largest|biggest|smallest|not)\b"
    r"(?!.*\b(?:is|are|was|were|am|looks?|has|have|had|seems?|can|could|should|would|did|does|do|may|might|comes?"
    r"|how|why|what|where)\b)"
    r"[^?!]*"
)
_LEAVES_OUT = re.compile(
    r"^(?:please |now |and |but |then )*(?:ignore|exclude|leave out|skip|omit|hide|remove|without|except"
    r"|focus on|i (?:only|just) (?:care about|want|need)|i am (?:only|not) interested in"
    r"|(?:do not|dont|never) (?:segment|mark|outline|highlight|show|circle|include)"
    r"|(?:everything|anything|all)(?: \w+)? (?:but|except|apart from|other than))\b|^忽略|^不要"
)
# Everyday words of German, French, Spanish, Italian, Portuguese and Dutch that no English sentence has
_OTHER_LANGUAGES = re.compile(
    r"\b(?:bitte|nur|nicht|und|oder|der|das|den|dem|ist|sind|ein|eine|einen|wie|viele|welche|gibt|zeige?|markiere?|fehler"
    r"|seulement|les|une|est|sont|combien|quelle?s?|avec|dans|tache|rayure|montre|défauts?|segmente"
    r"|el|los|las|una|por favor|cu[aá]nt[oa]s|hay|solo|sólo|defectos?|muestra|está|il|lo|gli|sono|quanti|difetti"
    r"|só|quantos|há|defeitos?|risco|het|een|hoeveel|welke|zijn|krassen?|alleen)\b"
)
_OTHER_SCRIPTS = re.compile("[\u0400-\u1fff\u3040-\u30ff\uac00-\ud7af]")  # Cyrillic to Georgian, kana, hangul
_SCENE = re.compile(
    r"\b(?:surface|image|picture|photo|material|object|part|texture|background|scene|normal|should|report)\b|表面|图像|图片|材料|报告"
)
_JUDGES = re.compile(
    r"\b(?:good|ok|okay|ng|nok|fine|normal|pass|fail|accept\w*|reject\w*|scrap|ship|clean|perfect|verdict"
    r"|where|what (?:do|can|did) you (?:see|find)|how (?:many|much|big|large|bad|severe|serious)"
    r"|list (?:all|them|every\w*))\b"
    r"|合格|正常|哪里|哪儿|几个|多少|多大|严重"
)
_PLEASANTRY = re.compile(
    r"(?:\W*\b(?:hi|hello|hey|there|ok|okay|good (?:morning|afternoon|evening|day)|thanks|thank you|thx|bye|great|fine"
    r"|perfect|cool|nice|very|much|a lot|so)\b\W*)+|.*\b(?:where|how) are you\b.*"
)
_IDEAL = re.compile(r"\bshould\b.*\blook\b|\b(?:good|normal) (?:one|part|piece|surface) looks? like\b|应该是什么样")
_SURE = re.compile(
    r"\b(?:how|so|quite|really|you|u|most) (?:sure|certain|confident)\b|\bfalse (?:alarm|positive)\b"
    r"|\breally a defect\b|\bconfidence\b|\bprobability\b|\bhow likely\b"
    r"|\b(?:what is the|whats the|the anomaly) score\b|^(?:what is |whats |and |the )*threshold\W*$"
    r"|多大把握|确定吗|置信度"
)
_ADVICE = re.compile(
    r"\b(?:should|do about|do with|fix\w*|repair\w*|avoid\w*|prevent\w*|recommend\w*|next|cost\w*|safe|why|how)\b"
)
_DIAGNOSIS = re.compile(  # what only a physician can say
    r"\b(?:malign\w+|benign|cancer\w*|carcinoma|melanoma|tumou?rs?|biops\w+|the patient|patients)\b"
    r"|恶性|良性|肿瘤|癌|患者|病人"
)
_WHOLE = r"(?:all(?: of (?:it|them))?|everything|(?:it|them)(?: all)?|the (?:rest|others|(?:full|whole) mask))"
_TO_WHOLE = r"(?:show|mark|segment|display|give|get|bring|put|restore|reset|go back to)(?: me)?"
_WHOLE_AGAIN = re.compile(  # "show all again", "put it back", "mark everything"
    rf"(?:(?:please|now|ok|okay|and|then|can you|could you) )*"
    rf"(?:(?:{_TO_WHOLE} )?{_WHOLE} (?:again|back)|{_TO_WHOLE} (?!it|them|the rest|the others){_WHOLE}|restore|reset)"
    r"(?: please| now)*\W*"
    r"|请?(?:重新|再)?(?:显示|标出|恢复)(?:全部|所有)(?:缺陷|区域)?\W*|(?:全部|所有)(?:缺陷|区域)?都?(?:显示|标出)(?:出来)?\W*"
)
_LEARNED = (
    (
        re.compile(
            r"\b(?:cosmetic|functional)\b|\b(?:get|become) (?:worse|bigger|larger)\b"
            r"|\b(?:will|could|can|might) (?:it|this)"
            r" (?:grow|spread|worsen)\b|\b(?:meets?|within|out of) (?:the |our |my )?(?:spec\w*|tolerances?)\b"
            r"|\b(?:a |any )?(?:risk|hazard)\b|\bneed to worry\b|\bdoes it matter\b|\bon a scale\b|\bseverity\b"
        ),
        "Is it serious?",
    ),
    (
        re.compile(
            r"\bhow (?:do|does) (?:this|it|you|the (?:tool|page|app|model)) work\b"
            r"|\bwho (?:made|built|trained|are) (?:you|this|it)\b"
        ),
        "What can you do?",
    ),
    (re.compile(r"^\W*(?:thx|ty|cheers|(?:good)?bye|see you)\b\W*$"), "Thank you."),
    (re.compile(r"\blooks? (?:fine|good|ok|okay|normal|clean) to me\b"), "Is it good?"),
    (_DIAGNOSIS, "What do you see?"),
    (
        re.compile(r"\bin (?:one|a single) sentence\b|\b(?:short|brief|quick) (?:summary|overview)\b"),
        "What do you see?",
    ),
)
HOW_MANY = re.compile(r"\bhow many\b|\bcount\b|\bnumber of\b")
_OF_OTHERS = re.compile(
    r"\b(?:only|just|others?|else|all|any|also|too|more|worse|worst|than|compar\w+|same|besides)\b|只|其他|别的"
)
_FOLLOW_UP = re.compile(r"\bwhy\b|\bexplain(?: (?:it|this|that|them|please))*\W*$|为什么|为何")
_CLAUSES = re.compile(r"[.?!,;:\n。？！，；、]+|\b(?:and|then)\b")


def pointing_words(instruction: str) -> str:
    """Return a user's words in lower case, without those that only look as if they pointed.

    "all right" does not; nor does a side of a thing that is no defect ("the top cover"), nor a sentence beside the one
    that asks ("The holes are normal."), unless that only says "it".
    """
    text = _ALL_BUT.sub("only", sanitize(as_order(instruction) or instruction).casefold())
    sentences = [s for s in _SENTENCES.split(text) if s.strip()]
    asking = [s for s in sentences if _POINTS.search(s)]
    told = all(_PRONOUN.search(s) and not _DEFECT.search(s) for s in asking)  # elsewhere, or nothing asks
    text = _SIDE_OF_THING.sub(" ", _ASIDE.sub(" ", ". ".join(sentences if told else asking)))
    return _BARE_NUMBER.sub(r"\g<0>region ", text)


def singles_out(instruction: str) -> bool:
    """Return whether the words ask for one of several: "only the scratch", "the one on the left"."""
    return bool(_REFER.search(pointing_words(instruction)))


def asks_about_defects(instruction: str) -> bool:
    """Return whether a question is about what is wrong in the image, so that a mask belongs to its answer."""
    text = _folded(instruction)
    if _IDEAL.search(text) or _PLEASANTRY.fullmatch(text):
        return False
    return bool(_DEFECT.search(text) or _JUDGES.search(text))


def wants_findings(instruction: str) -> bool:
    """Return whether what was found answers a question: "what is wrong?"; not "you are wrong", and no advice."""
    text = _folded(instruction)
    return bool(_ASKS.match(text) and asks_about_defects(instruction) and not _ADVICE.search(text))


def asks_how_sure(instruction: str) -> bool:
    """Return whether a question is about how sure the answer is."""
    return bool(_SURE.search(_folded(instruction)))


def as_learned(instruction: str) -> str:
    """Return a question in words that the bundled model was taught, where it asks the same in others."""
    text = _folded(instruction)
    return next((learned for asked, learned in _LEARNED if asked.search(text)), instruction)


def asks_diagnosis(instruction: str) -> bool:
    """Return whether a question is one for a physician: "is it malignant?"."""
    return bool(_DIAGNOSIS.search(_folded(instruction)))


def wants_whole_again(instruction: str) -> bool:
    """Return whether words take back what narrowed a mask, and say nothing else: "show all again", "put it back"."""
    return bool(_WHOLE_AGAIN.fullmatch(_folded(instruction)))


def follows_up(instruction: str) -> bool:
    """Return whether a question is about the mask before it: "why is that not normal?"."""
    return bool(_FOLLOW_UP.search(_folded(instruction)))


def asks_of_others(instruction: str) -> bool:
    """Return whether a question that names a finding is about the rest, too: "is the hole the only defect?"."""
    return bool(_OF_OTHERS.search(_folded(instruction)))


def in_other_language(instruction: str) -> bool:
    """Return whether words seem to be in a language that is neither English nor Chinese."""
    text = sanitize(instruction).casefold()
    return bool(_OTHER_SCRIPTS.search(text)) or len(set(_OTHER_LANGUAGES.findall(text))) >= 2


def _names_flaw(text: str) -> bool:
    """Return whether words speak of what is wrong, be it as "it"."""
    return bool(_DEFECT.search(text) or _THAT.search(text))


def _folded(instruction: str) -> str:
    """Return a user's words as the patterns here read them."""
    return sanitize(instruction).casefold().replace("’", "").replace("'", "")


def choose_mode(instruction: str, has_image: bool, has_previous_mask: bool = False) -> Mode:
    """Return how to answer in "auto": by the words, in English or Chinese; never returns "auto" itself."""
    text = respelled(_folded(as_order(instruction) or instruction))
    if not has_image:
        return "chat"
    if not text:
        return "explain"
    if _LEAVES_OUT.match(text):
        return "explain" if _DEFECT.search(text) or _REFER.search(text) else "chat"
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
    if has_previous_mask and (_POINTS_ALONE.match(text) or (_NOUNS_ALONE.fullmatch(text) and singles_out(instruction))):
        return "explain"
    if _EXPLAIN.search(text):
        return "chat" if (has_previous_mask and _FOLLOW_UP.search(text)) or not _names_flaw(text) else "explain"
    if any(_INSPECT.search(c) for c in orders):
        return "explain"
    return "chat"


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
