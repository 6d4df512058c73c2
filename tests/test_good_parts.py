"""Good examples by words: what says that an image shows a good part, that it does not after all, or neither."""

from __future__ import annotations

import time

import numpy as np
import pytest

from agvas_core.good_parts import MOST_EXAMPLES, MOST_READ, Said, evenly, good_images, read_judgement
from agvas_core.structures import Conversation, InspectionImage, Request, Turn

GOOD = """
This is a good part. | this is a good one | These are good parts | this part is good | this one is fine |
This is OK. | that's a good part | It is a good example. | Remember this as good | use this as a reference |
Take these as normal examples | good part | normal sample | golden sample | This image is normal. |
these are all good | both are good | this is defect-free | No, this is a normal part! |
Please remember: this is a good part. | all of these are good parts | The first image is good |
this photo shows a good part | Here is a good example | Here are three good parts | three more good ones |
reference image | This is a flawless cookie | this is a good one too | It's normal | treat it as normal |
There is nothing wrong here. | there are no defects | nothing is wrong with this part | that part is actually fine |
image 2 is good | This is an undamaged plate. | This nut is fine | they are good parts | healthy tissue |
this is healthy tissue | This one's good | use it for comparison | This is our golden sample | The part is OK |
This is a known good part | this is a known-good sample | This is what a good part looks like. |
here's what a normal one looks like | this one passed | this board passed final test | This is an OK part |
ok part | Here's a good one | This bottle is fine. | this pipe is OK | this image has no defects |
This part has no defects. | nothing wrong with this part | no defects here | This part is free of defects |
This is normal tissue. | consider it a good part | treat this as good | add this to the good examples |
add this one as a good example | let this be the reference | make this the reference | this will be our reference |
this should be the reference | use this photo as the golden sample | take this one as good | keep this as good |
I know this one is good | this one is perfectly fine | This is totally normal | this part is within spec |
this part is compliant | this one was approved | a good one | both of these are good | Both images are good |
this is a part with no defects | A part without defects | this surface is clean | this part is intact |
This is a perfect example. | for your information: this part is good | note that this one is normal |
To be clear, this part is good. | yes, this is a good part | actually this one is good | No, this is normal. |
that's normal | it is a good part | that's an ok part | this part is not defective | this one is not broken |
There are not any defects in it | in my opinion this is good | This is good in my opinion |
this is a good part too | and this one is good too | this is an example of a good part | reference part |
this is healthy | OK, this one's fine | this is a good hex nut | Please use this one as a reference image |
can you remember this as a good part | could you use this as the reference |
could you please take this as a reference | for us this is good | this is a healthy lung | no abnormalities here |
this image shows no defects | The image shows no anomalies. | there is no damage | everything here is normal |
Everything on this part is fine | the whole part is fine | all of this is fine | both nuts are good |
all three of them are good | this is a good part (reference) | this is a very good example |
this part is very good | this is perfectly normal | great, this is a good part | no that is normal
"""
NOT_GOOD = """
This is not a good part | this one is not good after all | it's not normal | This isn't a good example |
forget this one from the examples | That is no longer a good part | this is not good | This part is not good. |
This part is not good after all | sorry, this one is not good | this is no good part | this is no longer good |
this one is no good | it is not a good part | it isn't good | it's not a good part after all |
that's not a good part | That one is not good. | that one isn't good after all | This one is not OK |
this is not fine | this part isn't normal | this isn't normal | this is not a normal part |
This is not a reference | this is no reference | don't use this as a reference |
do not use this one as a reference | Don't use this as a good example | don't treat this as good |
do not count this as good | don't consider this good | don't remember this as good |
remove this from the good examples | Remove this image from the references. | Take this out of the good examples |
take it out of the references | delete it from the good parts | drop this one from the list |
this is a bad part after all | This is actually not good | actually this is not good |
actually, this one is not good | I was wrong, this is not good | I was wrong: this one is not good |
I made a mistake, this is not a good part | Oops, this is not a good part | wait, this one is not good |
hold on, this is not good | this is not healthy | this scan is not normal | this is not healthy tissue |
This part is not acceptable | this part is not conforming | the first image is not good | Image 2 is not good. |
image 2 is not a good part | these are not good parts | these are not good | they are not good | both are not good |
This part was not good | this wasn't a good part | this is not good any more | this is not a golden sample
"""
FORGET = """
forget the good examples | Forget the references. | clear all examples | stop comparing |
don't compare with them any more | remove the good parts | drop all good examples please |
do not use the references | judge it by itself | forget all good examples | forget all the good parts |
Forget the reference | forget all references | forget the reference images | forget the normal images |
forget the examples | Can you forget the good examples | can you please forget the good examples |
could you clear the good examples | clear the references | empty the memory bank | reset the references |
delete all references | Delete all good parts. | remove all the good examples | remove the good examples |
throw away the good examples | get rid of the good examples | drop the references | ignore the references |
Ignore the reference images | stop comparing to the good parts | stop comparing it with them | stop the comparison |
stop using the good examples | stop using the references | don't use the good parts any more |
do not use the good examples anymore | don't use any references | no longer use the good examples | don't compare |
don't compare any more | Don't compare with the good examples | do not compare with the good parts |
don't compare it with the references | don't compare to the reference any longer | no more comparing |
no more comparison | end the comparison | judge it without the references | judge it alone |
judge each image by itself | judge each image by itself again | judge every image on its own |
judge this without the examples | look at it by itself | see it without the references | without the good examples |
without references | now without the good examples
"""
NOTHING = """
is this good? | Is this part good, and where not? | segment the anomalies | that's fine | it's ok | ok | good |
great | that is good | This is good, right? | the part is good except for the scratch |
if this is a good part, say so | what does a good part look like? | show only the good part |
This looks like a crack | this is a crack | is it normal | this part is broken | the hole is normal |
The holes are normal. | ignore the holes | I want a good mask | good morning | good job | fine | perfect |
mark what is not good | all right | it is good | this is not a crack | forget it | forget everything |
ignore everything but the stain | both holes | the largest one | all | remove the stain | use this |
show all again | this is bad | find the missing part | the part is larger than normal | a part |
the image is 40 mm wide | This image is 40 mm wide | only the first one | remove region 2 |
look at the image again | delete that one | normal | why is that not normal? | There are no scratches |
there is no hole | thanks, that is perfect | it looks fine to me | Is this a good part | is this one good |
are these good parts | are these good | is that a good one | was this part good | is it a good part | is it ok |
is this ok | is it fine | is the part ok | is this part normal | Is this normal | can this be considered good |
would you say this is a good part | Tell me if this part is good | tell me whether this is a good part |
good or bad | mark it as good or bad | assuming this is good, what would be abnormal | what is a good part |
show me what a good part looks like | how does a good part look | how do I know this is good |
are you sure this is good | are you sure this part is fine | i do not think this is a good part |
I wonder if this is normal | this might be a good part | this may be good | this could be a good part |
This should be a good part | this looks good | looks fine | it seems to be good | that's right | ok thanks |
good idea | Good night | this is perfect, thank you | find what is wrong | mark all that differs from a good part |
Region 1 is fine | this scratch is acceptable | the shadow is normal | small scratches are ok |
this is good but the left side is scratched | this is hardly good | this is better | this one is worse |
this is the good side | there is a defect | that is not right | that is not a defect | correct | this one |
this is another part | is anything wrong | is nothing wrong | this is good, isn't it | really good |
segment the anomalies in this good part | segment the defects of this normal part | describe this normal part |
good parts have no scratches | this is normal for steel | it is good to know | fine with me |
this is fine, but mark the hole | ok, show only the hole | fine, but where is it | remove it | remove this image |
delete this | ignore this | ignore that | don't compare the sizes | don't use this image | use this image |
use the left one | use this as the image | take a look | take it | keep only the hole | save it |
save this as json | export as json | remember this | treat holes as normal | look at this image again |
compare them | what is the reference | do you remember the good examples | no defects |
no defects above 2 mm are allowed | are there no defects in this image | this is a good photo |
this is a large part of the surface | this part is okay-ish | this lesion is benign | this lesion is normal |
the rest is fine | everything else is normal | not normal | are you saying this is good | if it's good tell me |
whether this is good | reply with good or bad | translate: this is a good part | this is normal or not |
this one good | use the normal mode | normal description | in normal light | good contrast |
this has good contrast | this is fine detail | clean image please | reference mark |
this is a calibration reference of 10 mm | the golden part | is this within spec | no defect | no flaws |
without defects | two of the three are good | the crack is fine | those dents are fine | that region is fine |
that one there is fine on the left | the small hole is normal | this corner is fine | this edge is normal |
this image is better than the last one | as good as new | this part was good until yesterday | that should do |
that is all, thanks | those are the defects | these are the defects | it's not that bad | not so good |
this is not a part | this is not the right image | there are no defects in the upper half | why no defects |
forget the left one | forget all | forget the scale | drop the rules | discard this part | discard the part |
do not compare images | compare the left and the right | compare sizes | without words | without the left one |
use the nut as the scale | take this as a hint | treat both as one defect | count this part |
count these good parts | see this | add this to the report | put them in a list | make it better | let me see |
let me see the good part | let's see | consider it done | set this threshold | keep this in mind |
store the images | learn from this | I accept this answer
"""
GOOD_ZH = """
这是良品 | 这张图是正常的 | 这是一个合格品。 | 把这张当作参考 | 这是好的零件 | 这个零件是好的 | 这张没有缺陷 |
这张图片没有缺陷 | 这个是良品 | 这些都是良品 | 这两张都是正常的 | 这是正常样本 | 请把这张图当作良品 |
请记住这是良品 | 以这张为参考 | 用这张作为参考 | 这张是参考图 | 良品 | 这个产品合格 | 这个零件没问题 | 这是标准件 |
这是正常组织 | 这是健康组织 | 这张片子是正常的 | 这张作为参考 | 将此图作为良品 | 此图正常 | 该零件为合格品 |
这张照片正常 | 这是良品，请记住 | 这个零件没有问题 | 这个工件完好 | 它是良品 | 这一个是合格的 | 这张图像没有异常 |
这是好件 | 都是良品 | 这几张都是良品 | 这是一件良品 | 这是无缺陷的样品 | 这块板是良品 | 这是一张正常的图像 |
这是正常的皮肤 | 请将这张作为良品 | 记住，这是良品 | 不，这是良品 | 这也是良品 | 这个也是正常的
"""
NOT_GOOD_ZH = """
这不是良品 | 这张不是良品 | 这个不合格 | 这张图不正常 | 这不是合格品 | 这张不是正常的 | 它不是良品 | 这不再是良品 |
这其实不是良品 | 不，这不是良品 | 不要把这张当作良品 | 这个零件不是合格品 | 这张图片不是良品
"""
FORGET_ZH = """
忘记良品样本 | 忘记所有良品 | 清除参考图 | 删除所有参考样本 | 不要再和良品比较 | 不用再比较了 | 停止比较 |
不再与参考图对比 | 忘掉这些良品 | 清空参考样本 | 请忘记良品 | 别再对比了 | 不要再用参考图
"""
NOTHING_ZH = """
这是良品吗？ | 这是良品吗 | 这正常吗 | 是否合格 | 分割缺陷 | 正常 | 好的 | 很好 | 这是裂纹 | 这是什么 |
良品是什么样的 | 如果这是良品 | 哪张是良品 | 标出不正常的地方 | 这个孔是正常的 | 左边是正常的 | 没有缺陷的地方 |
检查这个良品 | 这是不是良品 | 这个划痕是正常的 | 这是否正常 | 这是一个零件 | 这是螺母 | 这张图 | 这个 |
这为什么是正常的 | 为什么这是良品 | 可以 | 没问题 | 不是 | 不对 | 这不是裂纹 | 这个孔不正常 | 忘记 | 忘记划痕 |
删除 | 清除 | 停止 | 比较 | 比较这两张 | 和上一张比较 | 哪里不正常 | 这里正常 | 这里有缺陷 | 有缺陷吗 | 没有缺陷吗 |
没有缺陷 | 只看这张 | 这个区域是正常的 | 边缘是正常的 | 这张清楚 | 这样很好 | 这个回答很好 | 这样好
"""


def phrases(listed: str) -> list[str]:
    return [words.strip() for words in listed.split("|")]


@pytest.mark.parametrize(
    ("listed", "judgement"),
    [
        (GOOD, "good"), (NOT_GOOD, "bad"), (FORGET, "forget"),
        (GOOD_ZH, "good"), (NOT_GOOD_ZH, "bad"), (FORGET_ZH, "forget"),
    ],
)  # fmt: skip
def test_what_people_say_of_good_examples_is_read_and_asks_for_nothing_else(listed, judgement):
    assert [words for words in phrases(listed) if read_judgement(words) != Said(judgement, "")] == []


@pytest.mark.parametrize("listed", [NOTHING, NOTHING_ZH])
def test_questions_conditions_praise_and_requests_say_nothing_of_them_and_are_left_whole(listed):
    assert [words for words in phrases(listed) if read_judgement(words) != Said(None, words)] == []


@pytest.mark.parametrize("end", ["?", " ?", "？", " or not?"])
def test_a_question_mark_makes_a_question_of_any_statement(end):
    asked = [words.rstrip(".!") + end for words in phrases(GOOD + "|" + NOT_GOOD + "|" + FORGET)]
    assert [words for words in asked if read_judgement(words).judgement is not None] == []


@pytest.mark.parametrize("before", ["if ", "Is it true that ", "why do you think that ", "I doubt that ", "maybe "])
def test_what_is_only_supposed_or_asked_says_nothing(before):
    asked = [before + words for words in phrases(GOOD)]
    assert [words for words in asked if read_judgement(words).judgement is not None] == []


def test_how_it_is_written_does_not_matter():
    """Quotes, marks and hyphens around and in a statement were left over as a question."""
    for words in (
        "THIS IS A GOOD PART", "this  is a\tgood part!!", '"This is a good part."', "This is a **good** part…",
        "this is a good part :)", "Ｔｈｉｓ is a good part", "This is a defect‑free part", "there are no defcts",
        "This is a good part\n", "  this is a known-good part  ",
    ):  # fmt: skip
        assert read_judgement(words) == Said("good", ""), words


@pytest.mark.parametrize(
    ("words", "judgement", "rest"),
    [
        ("This one is good. Segment the anomalies.", "good", "Segment the anomalies."),
        ("Segment the anomalies. This one is good.", "good", "Segment the anomalies."),
        ("Hi! This is a good part. Thank you. Where is the hole?", "good", "Where is the hole?"),
        ("This is a good part. Please remember it.", "good", ""),
        ("Good. This is a good part!", "good", ""),
        ("This is a good part. Is it?", "good", "Is it?"),
        ("This is a good part. 1 px is 0.05 mm.", "good", "1 px is 0.05 mm."),
        ("This is a good part. No, it is not a good part.", "bad", ""),
        ("Forget the good examples. This is a good part.", "good", ""),
        ("Forget the good examples; segment the anomalies.", "forget", "segment the anomalies."),
        ("It is not good after all.\nHow big is the hole?", "bad", "How big is the hole?"),
        ("这是良品。分割缺陷。", "good", "分割缺陷。"),
        ("Segment the anomalies. Is this good?", None, "Segment the anomalies. Is this good?"),
    ],
)
def test_what_is_asked_beside_it_is_kept(words, judgement, rest):
    """A scale of 0.05 mm beside it was once cut in two at its point."""
    assert read_judgement(words) == Said(judgement, rest)


def test_long_words_are_read_at_once():
    begun = time.perf_counter()
    for words in (
        "ok no yes " * 19, "remember that " * 14 + "x", "all parts part part " * 10, "the good part of the part " * 7,
        "this is " + "photo of image of " * 10, "use this as a the my our " * 8, "这都都" * 60, "a. " * 600, "!" * 1900,
        ("ok " * 60 + ". ") * 10, "this is a good part. " * 90, "good " * 10_000, "ok. " * 10_000,
    ):  # fmt: skip
        read_judgement(words)
    assert time.perf_counter() - begun < 1.0


def test_of_very_long_words_nothing_is_read():
    fits = "This is a good part. " + "x" * (MOST_READ - 21)
    assert read_judgement(fits).judgement == "good" and read_judgement(fits + "x") == Said(None, fits + "x")
    assert read_judgement("this is a good part" + ", please" * 30).judgement is None  # of one sentence, too


# --- the good examples of a talk -------------------------------------------------------------------------------------

IMAGES = {name: InspectionImage(name, np.zeros((2, 2, 3), np.uint8)) for name in "abcd"}


def good_of(*said: tuple[str, str | None], **request) -> str:
    """Return the ids of the good images; said: what the user said of which image, the last of it as the request."""
    turns = []
    for words, image_id in said[:-1]:
        turns += [Turn("user", words, image_id), Turn("assistant", "This is a good part.", "d")]
    words, image_id = said[-1]
    talk = Conversation(tuple(turns), request.pop("images", IMAGES))
    return "".join(image.image_id for image in good_images(talk, Request(words, image_id, **request)))


GOOD_PART, BAD_PART, ASKED = "This is a good part.", "This is not good after all.", "Why?"
ALL_FORGOTTEN = "Forget the good examples."


def test_good_images_come_in_the_order_in_which_they_were_called_so():
    assert good_of((GOOD_PART, "b"), ("Segment it.", "c"), (GOOD_PART, "a"), (ASKED, "c")) == "ba"
    assert good_of((GOOD_PART, "b"), (GOOD_PART, "a"), (GOOD_PART, "b")) == "ba"  # once each
    assert good_of((ASKED, "a")) == "" and good_of((GOOD_PART, "a")) == "a"  # the newest words count, too
    assert good_of((f"{GOOD_PART} Segment the anomalies.", "a"), (ASKED, "b")) == "a"


def test_the_requests_own_come_first():
    assert good_of((GOOD_PART, "b"), (GOOD_PART, "c"), (ASKED, "a"), good_ids=("c", "a", "c")) == "cab"


def test_an_image_is_no_longer_good_when_that_is_said_of_it():
    assert good_of((GOOD_PART, "a"), (GOOD_PART, "b"), (BAD_PART, "a")) == "b"
    assert good_of((GOOD_PART, "a"), (BAD_PART, "a"), (GOOD_PART, "b"), (GOOD_PART, "a")) == "ba"
    assert good_of((GOOD_PART, "a"), (BAD_PART, "b"), (BAD_PART, None)) == "a"
    assert good_of((BAD_PART, "a"), (ASKED, "a"), good_ids=("a", "b")) == "b"


def test_all_are_forgotten_at_once_whatever_image_is_shown():
    assert good_of((GOOD_PART, "a"), (GOOD_PART, "b"), (ALL_FORGOTTEN, None)) == ""
    assert good_of((GOOD_PART, "a"), (ALL_FORGOTTEN, "a"), (GOOD_PART, "b"), (ASKED, "c")) == "b"
    assert good_of((ALL_FORGOTTEN, "a"), good_ids=("a", "b")) == ""


def test_images_that_were_let_go_and_words_without_an_image_are_left_out():
    kept = {name: image for name, image in IMAGES.items() if name != "a"}
    assert good_of((GOOD_PART, "a"), (GOOD_PART, "b"), (ASKED, "c"), images=kept) == "b"
    assert good_of((GOOD_PART, None), (GOOD_PART, "unknown"), (ASKED, "c"), good_ids=("gone", "d")) == "d"


def test_what_the_engine_says_calls_nothing_good():
    assert good_of((ASKED, "d"), (ASKED, "d")) == ""


def test_of_many_good_examples_so_many_are_taken_evenly():
    assert evenly([]) == [] and evenly(range(MOST_EXAMPLES)) == range(MOST_EXAMPLES)
    taken = list(evenly(range(10 * MOST_EXAMPLES)))
    assert taken == list(range(0, 10 * MOST_EXAMPLES, 10))
    assert len(set(evenly(range(MOST_EXAMPLES + 1)))) == MOST_EXAMPLES
