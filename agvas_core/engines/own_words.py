"""What an engine itself says: that there is no image, how sure a mask is, and what nearly was in an empty one."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

import numpy as np

from agvas_core.regions import place_of
from agvas_core.structures import EngineCard, InspectionImage, Prediction, Region
from agvas_core.wording import at, number

NO_IMAGE = "Please upload an inspection image first: a photo of the part or surface, as PNG, JPEG, WebP, BMP or TIFF."
NO_ANCHORS = "The words ended without a mask, so the mask was asked for directly."
ENGLISH_ONLY = (
    "This engine's small language model reads English and a little Chinese; it may misunderstand other languages."
)
UNTRAINED = "UNTRAINED: this engine's weights are random, so neither its mask nor its words mean anything."
NO_DECODER = (
    "UNTRAINED: without an AG-VAS adapter the mask decoder of this engine is random, so no mask is shown. The words "
    "come from the base model alone, as its makers trained it."
)
NO_DIAGNOSIS = "I mark what looks unusual; what it means for a patient, only a physician can say."
FORGOTTEN = "Forgotten: from now on I judge each image by itself again."
NONE_TO_FORGET = 'There are no good examples. Say "this is a good part" of an image that shows one.'
PLEASE_CHECK = "I learned from synthetic defects, so please check it."
ABOUT_ITSELF = (  # what is asked, in lower case, of the model and not of the image, and the answer
    (
        re.compile(
            r"\b(?:iou|jaccard|dice|f1|f-score|auroc|auc|ground truth|metrics)\b"
            r"|\b(?:accuracy|precision|recall)\b(?=\W*$| (?:of|on|for|here)\b)|\bhow accurate\b"
            r"|交并比|准确率|精确率|召回率"
        ),
        "That takes a mask drawn by hand to compare with, and I have none. Of labelled images in MVTec layout "
        "`agvas evaluate --data FOLDER` measures AP, F1-max, IoU and AUROC; the card has those of these weights.",
    ),
    (
        re.compile(
            r"\banchor tokens?\b|\b(?:what|which)(?: are| is)?(?: the| your)? anchors?\b|\[(?:nor|ano|seg)\]|锚点"
        ),
        "My masks are read from the hidden states of three tokens, [NOR], [ANO] and [SEG]: what is normal, what is "
        "anomalous, and the mask itself. Alpha weighs [SEG]'s map against that of the other two.",
    ),
)
_ASKS_WHAT = re.compile(r"\b(?:what|which|how|tell|give|show|compute|calculate|measure|explain|why)\b|什么|多少|[?？]")
MOST_TOLD = 4  # regions whose score is told one by one
NEARLY_SHARE = 0.6  # of the threshold: of defects that are missed half come so near, of normal images a fifth


def nearly_marked(prediction: Prediction) -> str | None:
    """Return what an empty mask nearly shows, and where; None when nothing comes near its threshold."""
    score, threshold = prediction.pred_score, prediction.threshold
    if prediction.verdict != "normal" or score < NEARLY_SHARE * threshold:
        return None
    height, width = prediction.size_hw
    left, top, right, bottom = prediction.roi_xyxy or (0, 0, width, height)
    inside = prediction.anomaly_map[top:bottom, left:right]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    where = at(place_of(top + float(y), left + float(x), height, width))
    if score > threshold:
        return f"What is above the threshold {where} is smaller than {prediction.min_area_px} px, so it is not marked."
    digits = 2 if f"{score:.2f}" != f"{threshold:.2f}" else 3
    near = f"{math.floor(score * 1000) / 1000:.3f}" if digits == 3 else f"{score:.2f}"  # not up to the threshold
    wanted = f"{threshold:.{digits}f}"
    return (
        f"Nothing is clear enough to be marked at the threshold {wanted}, but a sign {where} comes near with {near}: "
        "please look there, or lower the threshold."
    )


def which_one(count: int) -> str:
    """Return a question back where "that" may be any of several findings."""
    return f'Which of the {number(count)} findings do you mean? Say its number, as in "region 2 is fine".'


def about_itself(words: str) -> str | None:
    """Return the answer to a question about the model and its measures, None where it is about the image."""
    text = words.casefold()
    if not _ASKS_WHAT.search(text):
        return None
    return next((answer for asked, answer in ABOUT_ITSELF if asked.search(text)), None)


def noted_good(count: int) -> str:
    """Return that an image was understood to be good; count: how many are, it included."""
    examples = "it" if count == 1 else f"the {number(count)} good examples"
    return (
        f"Noted: this is a good one. From now on I compare your images with {examples}: what looks alike is normal. "
        'Say "forget the good examples" to end that.'
    )


def not_compared(card: EngineCard) -> str:
    """Return that an engine knows no good examples."""
    return f"{card.name} judges each image by itself: only a trained AG-VAS compares with good examples."


def no_longer_good(left: int) -> str:
    """Return that an image is no good example any more; left: how many others there are."""
    are = "none is" if left == 0 else "one is" if left == 1 else f"{number(left)} are"
    return f"Noted: this is no good example any more; {are} left."


def compared(good: Sequence[InspectionImage], image: InspectionImage) -> str:
    """Return with how many good examples an image was compared."""
    examples = "your good example" if len(good) == 1 else f"your {number(len(good))} good examples"
    if any(example.image_id == image.image_id for example in good):
        return f"Compared with {examples}; this image is {'that one' if len(good) == 1 else 'one of them'}."
    return f"Compared with {examples}."


def direct_words(prediction: Prediction) -> str:
    """Return the direct mode's only words."""
    if prediction.verdict == "normal":
        return "No anomaly found."
    count = len(prediction.regions)
    return f"Sure, it is marked: {count} {'region' if count == 1 else 'regions'}."


def how_sure(prediction: Prediction, numbers: Collection[int] = ()) -> str:
    """Return what the map itself says of how sure a reply is: the language model has never read its values.

    numbers: of the regions that were asked for; of none, it tells of the image.
    """
    asked = [r for r in prediction.regions if r.index in numbers][:MOST_TOLD]
    if asked:
        told = [f"Region {r.index} scores {r.score:.2f} of 1 at its clearest{_kind(r)}." for r in asked]
        return " ".join([*told, PLEASE_CHECK])
    text = f"The strongest sign in this image scores {prediction.pred_score:.2f} of 1"
    if prediction.verdict == "normal":
        above = prediction.pred_score > prediction.threshold
        why = "what is above the threshold is too small" if above else f"the threshold is {prediction.threshold:.2f}"
        text += f", and nothing is marked: {why}."
    else:
        text += f"; what is above the threshold {prediction.threshold:.2f} is marked."
        largest = prediction.regions[0]
        if largest.kind:
            text += f" The likeliest kind of the largest region is {largest.kind} ({100 * largest.kind_score:.0f} %)."
    return f"{text} {PLEASE_CHECK}"


def _kind(region: Region) -> str:
    return f", and its likeliest kind is {region.kind} ({100 * region.kind_score:.0f} %)" if region.kind else ""
