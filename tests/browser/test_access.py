"""The page for everybody: quick to react, by keyboard, by touch, with names, headings and contrast."""

from __future__ import annotations

import pytest

from tests.browser.driver import REPLY_MS, ask

pytestmark = pytest.mark.browser

AT_ONCE_MS = 100
CLICK_AND_TIME = """(selector) => new Promise((done) => {
  const start = performance.now();
  const look = () => {
    const rows = document.querySelector('#agv-chat .agv-echo, #agv-chat .user-row');
    const skeleton = document.querySelector('#agv-chat .agv-skeleton');
    if (rows && skeleton) requestAnimationFrame(() => done(performance.now() - start));
    else requestAnimationFrame(look);
  };
  document.querySelector(selector).click();
  look();
})"""


@pytest.mark.parametrize("button", ["#agv-box .submit-button", ".agv-example"])
def test_question_and_skeleton_are_there_within_100_ms_of_a_click(url, open_page, photo, button):
    page = open_page(url)
    took_ms = []
    for _ in range(3):  # the best of three: the machine may be busy with something else
        page.set_input_files("#agv-box input[type=file]", str(photo))
        page.wait_for_selector("#agv-box .thumbnail-wrapper")
        page.fill("#agv-box textarea", "segment")
        page.wait_for_timeout(300)
        took_ms.append(page.evaluate(CLICK_AND_TIME, button))
        if took_ms[-1] < AT_ONCE_MS:
            break
        page.reload()
        page.wait_for_function("window.agvSend !== undefined")
    print(f"{button}: question and skeleton after {took_ms} ms")
    assert min(took_ms) < AT_ONCE_MS
    page.wait_for_selector(".agv-files a", timeout=REPLY_MS)
    assert page.locator(".agv-echo").count() == 0 and page.locator("#agv-chat .user-row").count() == 1


@pytest.mark.parametrize("size", [(1280, 860), (390, 844)])
def test_the_verdict_is_in_view_when_a_reply_has_come(url, open_page, photo, size):
    page = open_page(url, viewport={"width": size[0], "height": size[1]})
    for words in ("a long explanation", "again, a long one"):
        ask(page, words, photo if words.startswith("a ") else None)
        chat = page.locator("#agv-chat").bounding_box()
        verdict = page.locator("#agv-chat .bot-row").last.locator(".agv-verdict").bounding_box()
        assert chat["y"] <= verdict["y"] and verdict["y"] + verdict["height"] <= chat["y"] + chat["height"]


def test_a_very_long_question_is_folded_and_leaves_the_reply_in_view(url, open_page, photo):
    """While a reply ran, and where none had a verdict, nothing but the visitor's own words was in view."""
    page = open_page(url)
    page.check("#agv-mode input[value=chat]")
    ask(page, "What of this part, which came from the line this morning? " * 60, photo)
    chat, said = page.locator("#agv-chat").bounding_box(), page.locator("#agv-chat .agv-said").bounding_box()
    words = page.locator("#agv-chat .message-content").bounding_box()
    assert said["height"] < 220 and chat["y"] <= words["y"] < chat["y"] + chat["height"] - 40
    for name, height in (("more", 400), ("less", 0)):
        page.click(f"#agv-chat [data-agv-more] >> text={name}")
        assert page.locator("#agv-chat .agv-said").bounding_box()["height"] > height
    assert page.locator("#agv-chat .agv-said").bounding_box()["height"] < 220


def test_help_and_card_open_with_the_keyboard_and_escape_closes_them(url, open_page):
    page = open_page(url)
    page.wait_for_function("document.querySelector('.agv-tool').textContent.includes('Fake engine')")
    page.focus(".agv-tool")
    page.keyboard.press("Enter")
    assert "median colour" in page.inner_text("#agv-card")
    page.keyboard.press("Escape")
    assert not page.is_visible("#agv-card")
    page.focus(".agv-help summary")
    page.keyboard.press("Enter")
    said = page.inner_text(".agv-pop")
    assert all(word in said for word in ("Enter", "Esc", "Threshold", "Alpha"))
    page.keyboard.press("Escape")
    assert not page.is_visible(".agv-pop")


def test_tab_order_is_the_reading_order_and_focus_is_visible(url, open_page):
    page = open_page(url)
    page.focus("#agv-new")
    seen, unseen = [], []
    for _ in range(24):
        page.keyboard.press("Tab")
        at = page.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            " const place = ['#agv-top', '#agv-talk', '#agv-side'].find((q) => e.closest(q)) ?? 'other';"
            " const box = getComputedStyle(e.closest('#agv-box') ?? e), ringed = s.outlineStyle !== 'none';"
            " return [place, ringed || box.borderColor.includes('0, 114, 178'), e.outerHTML.slice(0, 90)] })()"
        )
        seen.append(at[0])
        if not at[1]:
            unseen.append(at[2])
    places = [p for n, p in enumerate(seen) if p != "other" and (n == 0 or p != seen[n - 1])]
    assert places[:3] == ["#agv-top", "#agv-talk", "#agv-side"], places
    assert unseen == []


def test_help_texts_can_be_read_without_a_pointer_that_hovers(url, open_page):
    page = open_page(url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.wait_for_timeout(600)
    page.click("#agv-drawer > button.label-wrap")
    page.wait_for_timeout(600)
    texts = page.locator("#agv-side .info-text")
    boxes = [texts.nth(n).bounding_box() for n in range(texts.count())]
    assert len(boxes) >= 4 and all(box["height"] >= 12 and box["width"] > 100 for box in boxes)


ACCESS = r"""() => {
  const shown = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== 'hidden';
  const name = (e) => (e.getAttribute('aria-label') || e.title || e.textContent.trim() || e.placeholder
    || [...(e.labels ?? [])].map((l) => l.textContent.trim()).join('') || e.alt || '');
  const unnamed = [...document.querySelectorAll('button, a[href], input, textarea, select, summary')]
    .filter(shown).filter((e) => !name(e)).map((e) => e.outerHTML.slice(0, 120));
  const pictures = [...document.querySelectorAll('img:not([alt])')].map((e) => e.outerHTML.slice(0, 120));
  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].filter(shown).map((e) => +e.tagName[1]);
  const rgba = (c) => (c.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const linear = (v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map(linear);
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const s = getComputedStyle(e), c = rgba(s.backgroundColor);
    if (s.backgroundImage !== 'none') return null;
    if (c.length === 3 || c[3] === 1) return c; if (c[3] > 0) return null; } return [255, 255, 255]; };
  const pale = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let t; (t = walk.nextNode()); ) {
    const e = t.parentElement;
    if (!t.textContent.trim() || !shown(e) || e.closest('script, style, [disabled], .agv-progress')) continue;
    const s = getComputedStyle(e), back = behind(e), ink = rgba(s.color);
    if (!back || (ink[3] ?? 1) < 1 || !s.color.startsWith('rgb')) continue;
    const [hi, lo] = [light(ink), light(back)].sort((a, b) => b - a);
    const ratio = (hi + .05) / (lo + .05), large = parseFloat(s.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) pale.push(`${t.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return { unnamed, pictures, pale, first: levels[0], jumps: levels.filter((l, i) => i && l > levels[i - 1] + 1),
    lang: document.documentElement.lang, mains: document.querySelectorAll('main').length };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_names_landmarks_headings_and_contrast(url, open_page, photo, scheme, width):
    page = open_page(url, viewport={"width": width, "height": 860}, color_scheme=scheme)
    for step in ("empty", "with a reply"):
        if step != "empty":
            ask(page, "segment", photo)
        if width < 961 and step != "empty":
            page.click("#agv-drawer > button.label-wrap")
            page.wait_for_timeout(600)
        found = page.evaluate(ACCESS)
        faults = {key: found[key] for key in ("unnamed", "pictures", "pale", "jumps")}
        assert faults == {"unnamed": [], "pictures": [], "pale": [], "jumps": []}, step
        assert found["first"] == 1 and found["mains"] == 1 and found["lang"]
