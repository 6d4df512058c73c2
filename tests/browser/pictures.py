"""The README's pictures, taken anew: `make pictures` (`python -m tests.browser.pictures`) talks with the bundled model.

The page in light and at desk width, dark on a phone, and a tour of one talk as an animation. Nothing is retouched.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import FLAGS, ROOT, serve
from tests.browser.driver import arrive, ask, chromium_path

EXAMPLES = ROOT / "assets" / "examples"
LIMIT_MS = 180_000  # a reply on a busy machine
TALK = (  # words, photo, milliseconds for which the tour shows the reply
    ("The image is 25 mm wide. Is this part good, and where not?", EXAMPLES / "wire-mesh.jpg", 3500),
    ("Segment only the burn.", None, 3000),
    ("Is it longer than 4 mm?", None, 2500),
    ("What may have caused it?", None, 3500),
)
TOUR_PX, COLOURS, FIRST_MS = 800, 96, 1800


def main(arguments: list[str] | None = None) -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "assets")
    out = parser.parse_args(arguments).out
    pages = serve("app.py", "--load-first")
    url = next(pages)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
            desk = {"viewport": {"width": 1320, "height": 1000}, "color_scheme": "light"}
            page = opened(browser, url, desk)
            frames = [(shot(page), FIRST_MS)]
            for words, photo, shown_ms in TALK:
                ask(page, words, photo, limit_ms=LIMIT_MS)
                frames.append((shot(page), shown_ms))
            frames[1][0].save(out / "screenshot.png", optimize=True)
            save_tour(frames, out / "tour.gif")
            phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2}
            page = opened(browser, url, phone)
            ask(page, "Segment and explain.", EXAMPLES / "hex-nut.jpg", limit_ms=LIMIT_MS)
            shot(page).save(out / "screenshot_phone.png", optimize=True)
            browser.close()
    finally:
        pages.close()


def opened(browser, url: str, options: dict) -> Page:
    """Return the page as a new visitor sees it."""
    page = browser.new_context(**options).new_page()
    arrive(page, url)
    page.wait_for_timeout(1500)
    return page


def shot(page: Page) -> Image.Image:
    """Return what is seen once nothing moves any more."""
    page.wait_for_timeout(1500)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def save_tour(frames: list[tuple[Image.Image, int]], path: Path) -> None:
    """Write frames, each with its milliseconds, as an animation of one palette."""
    small = [
        image.resize((TOUR_PX, TOUR_PX * image.height // image.width), Image.Resampling.LANCZOS) for image, _ in frames
    ]
    strip = Image.new("RGB", (TOUR_PX, sum(image.height for image in small)))
    for i, image in enumerate(small):
        strip.paste(image, (0, i * image.height))
    palette = strip.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    first, *rest = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in small)
    first.save(path, save_all=True, append_images=rest, duration=[ms for _, ms in frames], loop=0, optimize=True)


if __name__ == "__main__":
    main()
