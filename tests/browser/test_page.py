"""The real page in headless Chromium, with the fake engine; with the bundled model too where it is installed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import ROOT, serve
from tests.browser.driver import REPLY_MS, ask, choose, done, fetch
from tests.demo.pictures import spotted

pytestmark = pytest.mark.browser

REAL_REPLY_MS = 180_000
NANO = ROOT / "checkpoints" / "agvas-nano"
SKELETON_SEEN = """() => {
  const look = () => { window.skeletonSeen ||= !!document.querySelector(".agv-skeleton [role=progressbar]") };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""


def test_first_visit_says_what_it_is_and_one_click_on_an_example_gives_a_full_answer(url, open_page):
    page = open_page(url)
    assert page.inner_text("h1") == "AG-VAS Chat"
    assert "good" in page.inner_text(".agv-welcome")
    # watched from before the click: on a busy machine the skeleton had come and gone when it was first asked for
    page.evaluate(SKELETON_SEEN)
    page.click(".agv-example >> nth=0")
    page.wait_for_function("window.skeletonSeen", timeout=15_000)
    page.wait_for_selector(".agv-files a", timeout=REPLY_MS)
    assert page.get_attribute("#agv-chat .agv-verdict", "data-verdict") == "anomaly"


def test_a_click_asks_what_is_offered_next_and_it_is_not_offered_again(url, open_page, photo):
    page = open_page(url)
    assert page.locator(".agv-next").count() == 0
    ask(page, "Please segment the anomalies", photo)
    words = page.inner_text(".agv-next >> nth=0")
    page.click(".agv-next >> nth=0")
    page.wait_for_function("document.querySelectorAll('#agv-chat .bot-row').length === 2", timeout=REPLY_MS)
    done(page)
    assert words in page.locator("#agv-chat .user-row").last.inner_text()
    assert words not in page.locator(".agv-next").all_inner_texts()


@pytest.mark.parametrize("mode", ["auto", "direct", "describe", "describe_plus", "explain", "chat"])
def test_every_mode_answers_an_uploaded_photo(url, open_page, photo, mode):
    page = open_page(url)
    choose(page, mode)
    ask(page, "Please segment the anomalies", photo)
    masks = page.locator(".agv-layer-mask").count()
    assert masks == (0 if mode == "chat" else 1)
    words = page.locator("#agv-chat .bot-row").inner_text()
    assert ("unusual" in words) == (mode != "direct")
    if masks:
        width = page.evaluate("document.querySelector('.agv-layer-overlay').naturalWidth")
        assert width >= 480
        # PAGE: the picture first in Explain, the words first in Describe
        picture_y = page.locator(".agv-canvas").bounding_box()["y"]
        if mode != "direct":
            words_y = page.locator("#agv-chat .bot-row .message-content").first.bounding_box()["y"]
            assert (words_y < picture_y) == mode.startswith("describe")


def test_explain_shows_the_picture_while_the_words_still_stream(url, open_page, photo):
    page = open_page(url)
    choose(page, "explain")
    ask(page, "a long explanation please", photo, wait=False)
    page.wait_for_selector(".agv-layer-overlay", state="attached", timeout=REPLY_MS)
    assert page.locator("#agv-box .stop-button").count() == 1
    page.click("[data-agv-view=mask]")
    page.wait_for_timeout(800)  # redraws while streaming must not take the chosen view away
    assert page.get_attribute(".agv-pic", "data-view") == "mask"
    done(page)


def test_views_and_the_before_after_slider_work_inside_the_message(url, open_page, photo):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    for view in ("photo", "mask", "heat", "overlay"):
        page.click(f"[data-agv-view={view}]")
        assert page.get_attribute(".agv-pic", "data-view") == view
        assert page.get_attribute(f"[data-agv-view={view}]", "aria-pressed") == "true"
    cut = "parseFloat(getComputedStyle(document.querySelector('.agv-pic')).getPropertyValue('--cut'))"
    page.locator(".agv-canvas").scroll_into_view_if_needed()  # a click that had to be tried again had scrolled
    canvas = page.locator(".agv-canvas").bounding_box()
    middle, height = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    page.mouse.click(middle, height)
    assert page.evaluate(cut) == 100  # a click once hid half of the mask
    page.mouse.move(middle + 40, height)
    page.mouse.down()
    page.mouse.move(middle, height)
    page.mouse.up()
    assert 49 < page.evaluate(cut) < 51
    page.focus(".agv-slide")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(cut) == 49.5


def test_a_click_in_the_picture_points_at_the_region_there_and_enlarged_it_can_be_left_again(url, open_page, photo):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    for place in (".agv-pic", "#agv-large"):  # the larger spot, at 3/4 of the width, is picked and let go
        overlay = page.get_attribute(".agv-layer-overlay", "src")
        page.locator(f"{place} .agv-canvas").scroll_into_view_if_needed()
        canvas = page.locator(f"{place} .agv-canvas").bounding_box()
        page.mouse.click(canvas["x"] + 0.75 * canvas["width"], canvas["y"] + 0.3 * canvas["height"])
        page.wait_for_function(f"document.querySelector('.agv-layer-overlay').getAttribute('src') !== '{overlay}'")
        page.wait_for_selector(f".agv-chip[data-value='1'][aria-pressed={'true' if place == '.agv-pic' else 'false'}]")
        if place == ".agv-pic":
            page.click("[data-agv-enlarge]")
            assert page.evaluate("document.activeElement.ariaLabel") == "Close"
            assert page.get_attribute("#agv-large", "aria-label") == "part.png, enlarged"
            assert page.locator("#agv-large .agv-canvas").bounding_box()["width"] > 1.5 * canvas["width"]
    shown = page.locator(".agv-layer-overlay")
    page.wait_for_timeout(200)
    assert shown.nth(0).get_attribute("src") in shown.nth(1).evaluate("(image) => image.src")
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.matches('#agv-chat [data-agv-enlarge]')")
    assert page.locator("#agv-large").count() == 0 and page.locator("#agv-box .submit-button").count() == 1


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_ends_a_reply_and_keeps_what_is_there(url, open_page, photo, how):
    page = open_page(url)
    ask(page, "a long long explanation", photo, wait=False)
    page.wait_for_selector("#agv-chat .bot-row .message-content", timeout=REPLY_MS)
    if how == "button":
        page.click("#agv-box .stop-button")
    else:
        page.keyboard.press("Escape")
    done(page, 5000)
    assert "Stopped." in page.locator("#agv-chat .bot-row").inner_text()
    assert page.locator(".agv-layer-mask").count() == 1


def test_a_stop_and_a_new_chat_show_at_once_and_a_refused_one_is_taken_back(url, open_page, photo):
    """For as long as a step of the engine took there once was no sign of them."""
    page = open_page(url)
    ask(page, "a long long explanation", photo, wait=False)
    page.wait_for_selector("#agv-chat .bot-row .agv-stage-name", timeout=REPLY_MS)
    stage = page.evaluate(
        "async () => { const button = document.querySelector('#agv-box .stop-button'); button.click();"
        " await new Promise((r) => setTimeout(r));"
        " return [document.querySelector('#agv-chat .bot-row .agv-stage-name').textContent, button.disabled] }"
    )
    assert stage == ["Stopping…", True]
    done(page, 5000)
    rows = "document.querySelectorAll('#agv-chat .message-wrap')[0]?.getClientRects().length ?? 0"
    hidden = page.evaluate(f"() => {{ document.querySelector('#agv-new').click(); return {rows} }}")
    assert hidden == 0
    page.wait_for_selector(".agv-welcome")
    ask(page, "a long long explanation", photo, wait=False)
    page.route("**/gradio_api/queue/join*", lambda route: None)  # never answered, then an error as gradio shows it
    assert page.evaluate(f"() => {{ document.querySelector('#agv-new').click(); return {rows} }}") == 0
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<div class=\"toast-body error\"></div>')")
    page.wait_for_function(f"({rows}) > 0", timeout=15_000)


def test_retry_undo_and_edit(url, open_page, photo):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment the spots", photo)
    before = page.get_attribute(".agv-pic", "data-reply")
    page.click("#agv-chat button[aria-label=Retry]")
    page.wait_for_function(
        f"(document.querySelector('.agv-pic')?.dataset.reply ?? '{before}') !== '{before}'", timeout=REPLY_MS
    )
    done(page)
    assert page.locator("#agv-chat .bot-row").count() == 1
    page.click("#agv-chat .agv-edit summary")
    page.fill("#agv-chat .agv-edit textarea", "segment only the left one")
    page.press("#agv-chat .agv-edit textarea", "Enter")
    page.wait_for_function(
        "document.querySelector('#agv-chat .agv-said')?.textContent.includes('left one')", timeout=REPLY_MS
    )
    page.wait_for_selector(".agv-files a", timeout=REPLY_MS)
    done(page)
    assert page.locator("#agv-chat .bot-row").count() == 1
    page.click("#agv-chat button[aria-label=Undo]")
    page.wait_for_function("document.querySelectorAll('#agv-chat .bot-row').length === 0")
    assert page.input_value("#agv-box textarea") == "segment only the left one"


def test_the_downloaded_mask_is_a_png_of_the_photos_size(url, open_page, photo):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    data = fetch(page, ".agv-files a[download$='mask.png']", "part_mask.png")  # not the server's own name
    assert data.startswith(b"\x89PNG")
    mask = Image.open(io.BytesIO(data))
    assert mask.size == (480, 360) and mask.mode == "L"
    assert set(np.unique(np.asarray(mask))) == {0, 255}
    deep = Image.open(io.BytesIO(fetch(page, ".agv-files a[download$='map.png']")))
    assert deep.size == (480, 360) and deep.mode.startswith("I;16")
    facts = fetch(page, ".agv-files a[download$='regions.json']", "part_regions.json")
    assert b'"verdict": "anomaly"' in facts


def test_the_threshold_moves_the_mask_without_the_model(url, open_page, photo):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    first = page.get_attribute(".agv-layer-mask", "src")
    field = page.get_by_label("number input for Threshold")
    field.fill("1")
    field.press("Enter")
    page.wait_for_function(
        f"document.querySelector('.agv-layer-mask').getAttribute('src') !== '{first}'", timeout=10_000
    )
    page.wait_for_selector("#agv-chat .agv-verdict[data-verdict=normal]")
    assert "highest suspicion" in page.inner_text("#agv-chat .agv-verdict")
    assert page.locator("#agv-chat .bot-row").count() == 1


def test_the_sliders_stay_where_they_are_while_one_is_moved(url, open_page, photo):
    """They once jumped from under the pointer when the verdict above them or the tip beside them grew by a line."""
    page = open_page(url, viewport={"width": 1440, "height": 900})
    choose(page, "direct")
    ask(page, "segment", photo)
    tracks = page.locator("#agv-side input[type=range]")
    before = [tracks.nth(n).bounding_box()["y"] for n in range(3)]
    for value in ("0.31", "1", "0.97"):
        old = page.get_attribute(".agv-layer-mask", "src")
        page.get_by_label("number input for Threshold").fill(value)
        page.wait_for_function(f"document.querySelector('.agv-layer-mask').getAttribute('src') !== '{old}'")
        page.wait_for_timeout(200)
        assert [tracks.nth(n).bounding_box()["y"] for n in range(3)] == before
    assert page.locator("#agv-side .info-text >> text=How sure").bounding_box()["height"] > 12


def test_words_move_the_slider_and_the_mask(url, open_page, photo):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    before = page.get_attribute(".agv-layer-mask", "src")
    choose(page, "auto")
    ask(page, "lower the threshold to 0.3")
    page.wait_for_function("document.querySelector('#agv-side input[type=number]').value === '0.3'")
    assert page.locator(".agv-layer-mask").first.get_attribute("src") != before
    assert "0.30 now" in page.inner_text("#agv-chat")


def test_an_older_replys_sliders_do_not_leak_into_the_next_reply(url, open_page, photo):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    field = page.get_by_label("number input for Threshold")

    def set_threshold(value: str) -> None:
        before = page.locator(".agv-layer-mask").last.get_attribute("src")
        field.fill(value)
        field.press("Enter")
        page.wait_for_function(
            f"[...document.querySelectorAll('.agv-layer-mask')].pop().getAttribute('src') !== '{before}'"
        )

    set_threshold("0.9")
    ask(page, "again")  # starts from what the user set last
    assert field.input_value() == "0.9"
    set_threshold("0.3")
    page.locator("[data-agv=reply]").first.click()
    page.wait_for_function("document.querySelector('#agv-side input[type=number]').value === '0.9'")
    ask(page, "once more")
    assert field.input_value() == "0.3"


@pytest.mark.parametrize("when", ["before the mask", "beside the words"])
def test_a_slider_moved_while_a_reply_streams_is_taken_and_stays(url, open_page, photo, when):
    """It once snapped back, and the mask kept the old threshold."""
    page = open_page(url)
    ask(page, "a long long explanation", photo, wait=False)
    if when == "beside the words":
        page.wait_for_selector("#agv-chat .bot-row .message-content", timeout=REPLY_MS)
    field = page.get_by_label("number input for Threshold")
    field.fill("1")
    field.press("Enter")
    page.wait_for_selector("#agv-chat .agv-verdict[data-verdict=normal]", timeout=10_000)
    assert page.locator("#agv-box .stop-button").count() == 1  # still streaming
    done(page)
    page.wait_for_timeout(500)
    assert field.input_value() == "1"
    assert page.get_attribute("#agv-chat .agv-verdict", "data-verdict") == "normal"


def test_a_number_that_is_typed_out_of_range_or_emptied_is_no_error(url, open_page, photo):
    """An emptied field once showed the text of a Python exception."""
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    field = page.get_by_label("number input for Threshold")
    field.fill("")
    page.wait_for_timeout(600)
    field.fill("5")
    page.wait_for_selector("#agv-chat .agv-verdict[data-verdict=normal]")
    page.wait_for_function("document.querySelector('#agv-side input[type=number]').value === '1'")
    assert page.locator(".toast-body").count() == 0


def test_a_file_that_is_no_photo_is_answered_in_the_chat(url, open_page, tmp_path):
    """It was once refused by a list of file endings, and the question with it."""
    page = open_page(url)
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4 not a picture")
    ask(page, "segment", paper)
    assert "paper.pdf: This file is a PDF; upload a PNG" in page.inner_text("#agv-chat .agv-error")
    assert "image/*" in page.get_attribute("#agv-box input[type=file]", "accept")


def test_on_a_phone_adjust_mask_opens_the_sliders_under_the_picture(url, open_page, photo):
    """They once were in a drawer so far below that the mask they move could not be seen."""
    page = open_page(url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    ask(page, "segment", photo)
    threshold = page.get_by_label("number input for Threshold")
    assert not threshold.is_visible()
    page.click("[data-agv=reply]")
    page.wait_for_function("document.activeElement.matches('#agv-side input[type=range]')")
    for value in ("0.6", "0.9"):  # the picture stays where it is when its mask moves
        before = page.get_attribute(".agv-layer-mask", "src")
        threshold.fill(value)
        page.wait_for_function(f"document.querySelector('.agv-layer-mask').getAttribute('src') !== '{before}'")
        sheet, canvas = page.locator("#agv-side").bounding_box(), page.locator(".agv-canvas").bounding_box()
        assert 0 <= canvas["y"] and canvas["y"] + canvas["height"] <= sheet["y"] < threshold.bounding_box()["y"]
        assert threshold.bounding_box()["y"] < 844 - 60
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.matches('[data-agv=reply]')")
    assert not threshold.is_visible()
    box = page.locator("#agv-box").bounding_box()
    assert box["y"] + box["height"] < page.locator("#agv-side").bounding_box()["y"]


def test_a_tall_photo_leaves_room_for_its_regions_and_words(url, open_page, tmp_path):
    """The picture of a strip once lay over its regions' list and was longer than the window."""
    page = open_page(url, viewport={"width": 1440, "height": 900})
    strip = tmp_path / "strip.png"
    spotted(3, size_hw=(1600, 200)).save(strip)
    choose(page, "explain")
    ask(page, "segment", strip)
    boxes = [page.locator(f"#agv-chat {q}").first.bounding_box() for q in (".agv-canvas", ".agv-chips", ".agv-views")]
    canvas, chips, views = boxes
    assert canvas["x"] + canvas["width"] <= chips["x"]
    words = page.locator("#agv-chat .bot-row .message-content").first.bounding_box()
    chat = page.locator("#agv-chat").bounding_box()
    assert chat["y"] <= views["y"] and words["y"] + 24 <= chat["y"] + chat["height"]


def test_a_wide_window_shows_the_page_in_its_middle_and_a_phone_its_full_width(url, open_page):
    """On a wide window it once clung to the left."""
    for width in (1600, 390):
        page = open_page(url, viewport={"width": width, "height": 844})
        page.wait_for_timeout(300)
        left, right = page.evaluate(
            "(() => { const b = document.querySelector('#agv-chat').getBoundingClientRect(),"
            " s = document.querySelector('#agv-side').getBoundingClientRect();"
            " return [b.left, innerWidth - Math.max(b.right, s.right)] })()"
        )
        assert abs(left - right) < 20 and page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_new_chat_while_a_reply_streams_is_empty_and_answers(url, open_page, photo):
    """The stopped reply's last drawing once came after the empty page, and the old chat stood there again.

    The mode, the sentence about what is normal, the close look and the sliders once were those of the old chat's part.
    """
    page = open_page(url)
    choose(page, "explain")
    page.get_by_label("Normal looks like").fill("an even grey sheet")
    page.get_by_label("number input for Threshold").fill("0.9")
    page.check("#agv-close input")
    ask(page, "a long long explanation", photo, wait=False)
    page.wait_for_selector("#agv-chat .bot-row .message-content", timeout=REPLY_MS)
    page.click("#agv-new")
    page.wait_for_function("document.querySelectorAll('#agv-chat .bot-row').length === 0", timeout=20_000)
    done(page)
    assert page.is_checked("#agv-mode input[value=auto]") and page.get_by_label("Normal looks like").input_value() == ""
    assert page.get_by_label("number input for Threshold").input_value() == "0.5"
    assert not page.is_checked("#agv-close input")
    ask(page, "segment", photo)
    assert page.locator("#agv-chat .bot-row").count() == 1
    assert page.get_attribute("#agv-chat .agv-verdict", "data-verdict") == "anomaly"


def test_a_comparison_shows_both_images_and_what_was_measured(url, open_page, photo, tmp_path):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    other = tmp_path / "other.png"
    spotted(0, size_hw=(240, 240), seed=5).save(other)
    ask(page, "segment", other)
    ask(page, "compare with the first image")
    reply = page.locator("#agv-chat .bot-row").last
    assert reply.locator(".agv-canvas").count() == 2
    said = reply.locator(".agv-measured").inner_text()
    assert "Image 2: no anomaly found" in said and "Image 2 has 2 regions fewer than Image 1" in said


def test_two_visitors_do_not_see_each_other(url, open_page, photo):
    one, two = open_page(url), open_page(url)
    ask(one, "segment", photo)
    assert two.locator("#agv-chat .bot-row").count() == 0
    ask(two, "hello there")
    assert "There is no image yet" in two.inner_text("#agv-chat")
    assert one.locator("#agv-chat .bot-row").count() == 1
    folder = one.get_attribute(".agv-layer-mask", "src").split("/")[-2]
    ask(two, "segment", photo)
    assert two.get_attribute(".agv-layer-mask", "src").split("/")[-2] != folder


def test_errors_are_sentences_in_the_chat(url, open_page, tmp_path):
    page = open_page(url)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"%PDF-1.4 not a picture")
    ask(page, "segment", broken)
    assert "PNG" in page.inner_text("#agv-chat .agv-error")
    ask(page, "please crash", None)
    assert page.locator("#agv-chat .agv-error").count() == 2


def test_several_images_and_the_way_back_to_the_first(url, open_page, photo, tmp_path):
    page = open_page(url)
    choose(page, "direct")
    ask(page, "segment", photo)
    other = tmp_path / "other.png"
    spotted(1, size_hw=(240, 240), seed=5).save(other)
    ask(page, "segment", other)
    assert page.locator(".agv-shot").count() == 2
    ask(page, "segment the first image again")
    assert "part.png" in page.locator("#agv-chat .bot-row").last.inner_text()
    assert page.get_attribute(".agv-shot >> nth=0", "aria-pressed") == "true"


def test_an_image_that_is_called_good_is_marked_so_until_it_is_forgotten(url, open_page, photo):
    page = open_page(url)
    ask(page, "This is a good part.", photo)
    assert "good" in page.inner_text(".agv-shot")
    ask(page, "forget the good examples")
    assert page.locator(".agv-shot").count() == 0


def test_the_language_changes_and_comes_back(url, open_page):
    page = open_page(url)
    page.click("#agv-lang")
    page.wait_for_function("document.body.innerText.includes('先描述再分割')")
    page.click("#agv-lang")
    page.wait_for_function("document.body.innerText.includes('Describe then segment')")


def test_a_phone_has_no_sideways_scrolling_and_every_button_has_a_name(url, open_page):
    page = open_page(url, viewport={"width": 390, "height": 844}, has_touch=True)
    page.click(".agv-example >> nth=1")
    page.wait_for_selector(".agv-files a", timeout=REPLY_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    canvas = page.locator(".agv-canvas").bounding_box()
    assert canvas["x"] >= 0 and canvas["x"] + canvas["width"] <= 390
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button')].filter(b => b.offsetParent)"
        ".filter(b => !(b.textContent.trim() || b.ariaLabel || b.title))"
        ".map(b => b.outerHTML.slice(0, 120))"
    )
    assert unnamed == []


def test_a_table_in_the_words_breaks_no_word_and_scrolls_by_itself_on_a_phone(url, open_page, photo):
    """Its cells were as narrow as a letter allows: "regio n", "cente r"."""
    page = open_page(url)
    choose(page, "chat")
    ask(page, "list all as a table", photo)
    heads = [head.bounding_box()["height"] for head in page.locator("#agv-chat table th").all()]
    assert len(heads) == 5 and max(heads[:4]) < 1.5 * 14 * 1.6 + 10
    page.set_viewport_size({"width": 390, "height": 844})
    table = page.locator("#agv-chat table").bounding_box()
    assert table["x"] + table["width"] <= 390 and page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_same_file_can_be_added_twice_in_a_row(url, open_page, photo):
    """The second time once showed no thumbnail, and the question went without its photo."""
    page = open_page(url)
    choose(page, "direct")
    for n in (1, 2):
        ask(page, "segment", photo)  # waits for the thumbnail
        assert page.locator("#agv-chat .agv-asked").count() == n


def test_another_engine_answers_beside_the_first_and_a_broken_one_loses_nothing(browser, open_page, photo):
    for url in serve("-m", "tests.fake_app", "--several"):
        page = open_page(url)
        choose(page, "explain")
        ask(page, "segment", photo)
        assert page.locator(".agv-other button").all_text_contents() == ["second", "broken"]
        page.click(".agv-other summary")
        page.click(".agv-other button >> text=second")
        page.wait_for_function("document.querySelectorAll('.agv-part .agv-files a').length === 6", timeout=REPLY_MS)
        done(page)
        parts = page.locator("#agv-chat .bot-row .agv-part")
        boxes = [parts.nth(n).bounding_box() for n in range(2)]
        assert parts.count() == 2 and boxes[1]["x"] > boxes[0]["x"] + boxes[0]["width"] - 1  # side by side
        chat = page.locator("#agv-chat").bounding_box()
        assert chat["y"] <= parts.nth(1).locator(".agv-head").bounding_box()["y"] < chat["y"] + chat["height"]
        assert "Fake engine" in parts.nth(0).inner_text() and "Second fake" in parts.nth(1).inner_text()
        assert all("unusual" in parts.nth(n).inner_text() for n in range(2))
        page.click(".agv-other summary")
        page.click(".agv-other button >> text=broken")
        page.wait_for_selector(".agv-part .agv-error", timeout=REPLY_MS)
        assert "not on this machine" in page.inner_text(".agv-error") and parts.count() == 3
        assert page.locator(".agv-layer-mask").count() == 2
        page.wait_for_timeout(200)  # the newest is what one wants to see: it came below, out of view
        newest, chat = parts.nth(2).locator(".agv-head").bounding_box(), page.locator("#agv-chat").bounding_box()
        assert chat["y"] <= newest["y"] < chat["y"] + chat["height"] - 60
        page.click(".agv-whose >> text=Second fake")  # its card, one click away
        page.wait_for_function("document.querySelector('#agv-card').innerText.includes('Second fake')")
        assert page.locator("#agv-card").is_visible()
        page.keyboard.press("Escape")
        ask(page, "and why?")  # the conversation goes on
        assert page.locator("#agv-chat .bot-row").count() == 2
        page.set_viewport_size({"width": 360, "height": 740})  # the header's buttons once took two rows of a phone
        header = [box.bounding_box() for box in page.locator("#agv-top button, #agv-engine, #agv-top summary").all()]
        assert len(header) > 4 and max(b["y"] for b in header) < min(b["y"] + b["height"] for b in header)
        assert all(0 <= b["x"] and b["x"] + b["width"] <= 360 for b in header)
        assert page.locator("#agv-engine").bounding_box()["width"] > 90
        page.context.close()


def test_untrained_weights_are_announced_and_draw_no_mask(browser, open_page, photo):
    for url in serve("-m", "tests.fake_app", "--untrained"):
        page = open_page(url)
        page.wait_for_selector(".agv-banner")
        assert "UNTRAINED" in page.inner_text(".agv-banner")
        ask(page, "segment", photo)
        assert page.locator(".agv-layer").count() == 0
        assert page.locator(".agv-files a").count() == 0
        page.context.close()


@pytest.mark.slow
@pytest.mark.skipif(not NANO.is_dir(), reason="checkpoints/agvas-nano is not installed")
def test_the_bundled_model_answers_on_the_page(browser, open_page, photo):
    for url in serve("app.py"):
        page = open_page(url)
        first = {"photo": photo}  # the second question is about the same photo
        for mode in ("direct", "explain"):
            choose(page, mode)
            ask(page, "Please segment the anomalies in this image.", first.pop("photo", None), limit_ms=REAL_REPLY_MS)
            assert page.locator(".agv-error").count() == 0
            assert Image.open(io.BytesIO(fetch(page, ".agv-files a[download$='mask.png'] >> nth=-1"))).size == (
                480,
                360,
            )
        page.set_viewport_size({"width": 390, "height": 844})
        # a phone's selector shows the engine's whole name, once the header has settled
        page.wait_for_function("(i => i.scrollWidth <= i.clientWidth)(document.querySelector('#agv-engine input'))")
        page.context.close()
