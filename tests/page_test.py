"""The server's page in a real browser: what a person sees of their photos."""

import io
import re

import bad_inputs
import browsing
import numpy as np
import pytest
from browsing import Page
from PIL import ExifTags, Image
from servers import server

from planet_tf.geo import geometry

pytestmark = pytest.mark.slow

PARIS = 48.8584, 2.2945


def jpeg(place=0, seed=0, gps=False):
    """A photo as those `small_model` was trained on."""
    rng = np.random.default_rng(seed)
    pixels = np.full((200, 260, 3), 60.0)
    pixels[..., place % 3] += 40 * (1 + place // 3)
    pixels += rng.normal(0, 15, pixels.shape)
    exif = Image.Exif()
    if gps:
        tag = ExifTags.GPS
        exif[ExifTags.IFD.GPSInfo] = {
            tag.GPSLatitudeRef: "N",
            tag.GPSLatitude: (48.0, 51.0, 30.24),
            tag.GPSLongitudeRef: "E",
            tag.GPSLongitude: (2.0, 17.0, 40.2),
        }
    file = io.BytesIO()
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.fixture(scope="module")
def url(small_model):
    with server(small_model) as (_, address):
        yield address


@pytest.fixture(scope="module")
def browser():
    with browsing.chromium() as launched:
        yield launched


@pytest.fixture
def page(browser, url):
    made = Page(browser, url, "/")
    yield made
    made.close()


def test_a_photo_is_answered_in_words_and_on_the_map(page):
    page.drop(("paris.jpg", "image/jpeg", jpeg(gps=True)))
    place = page.answer()
    tab = page.tab
    first = tab.locator("#places li").first.inner_text()
    assert place in first and "%" in first and "cell" in first
    assert tab.locator("#places li").count() == 4
    assert tab.locator("#countries progress").count() > 0
    assert "Half of the probability is within" in tab.inner_text("#reach")
    assert tab.get_attribute("#strip img", "alt") == "paris.jpg"
    assert not tab.is_visible("#how")
    # The heat is drawn: the cells on the map add up to all there is.
    shares = tab.evaluate("cells.map((cell) => cell.values[0])")
    assert sum(shares) == pytest.approx(100, abs=0.1)
    widths = tab.evaluate("cells.map((cell) => [cell.token, widthOf(cell)])")
    for token, width in widths:
        area = geometry.cell_area_km2(token)
        assert width == pytest.approx(area**0.5, rel=1e-6)

    # The truth is a pin with the error, until it is switched off.
    said = tab.inner_text("#truth")
    assert re.search(r"48\.858, 2\.29\d: the answer is .+ km off", said)
    assert tab.evaluate("pins.truth") == pytest.approx(PARIS, abs=1e-3)
    tab.uncheck("#show-truth")
    assert tab.evaluate("pins.truth") is None

    tab.locator("#places button").nth(2).click()
    third = tab.evaluate("shown.answer.cells[2]")
    at = tab.evaluate("toPlace(view.x, view.y)")
    assert at[0] == pytest.approx(third["lat"], abs=60)


def test_the_slider_makes_the_answer_coarser_and_more_probable(page):
    page.drop(("a.jpg", "image/jpeg", jpeg(1)))
    page.answer()
    tab = page.tab
    fine = tab.evaluate("selected.values[0]")
    words = tab.inner_text("#within")
    assert "wide" in words
    tab.fill("#level", "0")
    tab.dispatch_event("#level", "input")
    coarse = tab.evaluate("selected.values[0]")
    assert tab.evaluate("selected.level") == 0
    assert coarse >= fine
    total = tab.evaluate(
        "sumsAt(shown.distribution, known, 0).reduce((s, c) => s + c[1], 0)"
    )
    assert total == pytest.approx(1, abs=1e-3)


def test_an_album_is_looked_through_alone_and_together(page):
    names = ["a.jpg", "b.jpg", "c.jpg"]
    files = [(n, "image/jpeg", jpeg(k, k)) for k, n in enumerate(names)]
    page.drop(*files, ("x.txt", "text/plain", b"no photo"))
    together = page.answer()
    tab = page.tab
    assert page.errors() == [tab.locator("#errors li").first.inner_text()]
    assert "x.txt: This is no photo" in page.errors()[0]
    assert tab.locator("#strip button").count() == 3
    tab.check("#how [value=alone]")
    alone = []
    for _ in names:
        alone.append(tab.evaluate("shown.distribution[0]"))
        tab.keyboard.press("n")
    assert len({tuple(pair) for pair in alone}) == 3
    pressed = tab.locator("#strip button[aria-pressed=true]")
    assert "1 of 3: a.jpg" in pressed.get_attribute("aria-label")
    tab.keyboard.press("p")
    assert "3 of 3: c.jpg" in pressed.get_attribute("aria-label")
    tab.check("#how [value=album]")
    assert tab.inner_text("#headline") == together
    assert len(tab.evaluate("pins.track")) == 3


@pytest.mark.parametrize(
    ("name", "kind", "data", "says"),
    [
        ("x.jpg", "image/jpeg", b"no photo", "This is no photo"),
        ("cut.jpg", "image/jpeg", jpeg()[:3000], "is cut off"),
        (
            "bomb.png",
            "image/png",
            bad_inputs.png_bomb(30_000),
            "too many pixels",
        ),
    ],
    ids=["text", "cut", "bomb"],
)
def test_what_is_no_photo_is_told_and_the_next_is_answered(
    page, name, kind, data, says
):
    page.drop((name, kind, data))
    (error,) = page.errors()
    assert error.startswith(f"{name}: ") and says in error
    assert page.tab.is_hidden("#result")
    page.drop(("a.jpg", "image/jpeg", jpeg()))
    assert page.answer()
    assert page.tab.locator("#errors li").count() == 0


def test_a_file_that_is_too_large_is_not_even_sent(page, tmp_path):
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(50_000_000)
    before = len(page.requests)
    page.tab.set_input_files("#files", str(large))
    (error,) = page.errors()
    assert "large.jpg: it has 50 MB, and 20 MB is the limit" in error
    assert len(page.requests) == before


def test_all_can_be_done_by_keyboard(page, tmp_path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(jpeg())
    tab = page.tab
    # What would open the system's own dialog, which has no page to look at.
    tab.evaluate(
        """() => $("files").addEventListener("click", (event) => {
          event.preventDefault();
          document.body.dataset.asked = "";
        })"""
    )
    tab.press("#choose", "Enter")
    tab.wait_for_selector("body[data-asked]")
    tab.set_input_files("#files", str(photo))
    page.answer()
    zoom = tab.evaluate("view.zoom")
    tab.focus("#canvas")
    tab.keyboard.press("+")
    assert tab.evaluate("view.zoom") == pytest.approx(zoom + 1)
    tab.keyboard.press("Enter")
    assert tab.inner_text("#message")
    # It is the middle of what the panel leaves free.
    at = tab.evaluate("freeMiddle()")
    assert at == [(370 + 1440) / 2, 450]
    tab.focus("#level")
    value = tab.input_value("#level")
    if value != "0":
        tab.keyboard.press("ArrowLeft")
        assert int(tab.input_value("#level")) == int(value) - 1
    tab.focus("#places li:first-child button")
    tab.keyboard.press("Enter")
    unnamed = tab.evaluate(
        """() => [...document.querySelectorAll("button, input, img")]
          .filter((e) => !(e.getAttribute("aria-label") || e.alt ||
            e.textContent.trim() || e.labels?.length)).map((e) => e.id)"""
    )
    assert not unnamed


def test_a_busy_server_is_asked_again(page):
    refused = []

    def once(route):
        if refused:
            return route.continue_()
        refused.append(route)
        return route.fulfill(
            status=429,
            headers={"Retry-After": "1"},
            json={"error": {"code": "busy", "message": "Too much to do."}},
        )

    page.tab.route("**/api/locate*", once)
    page.drop(("a.jpg", "image/jpeg", jpeg()))
    page.tab.wait_for_selector("#message:has-text('busy')")
    assert page.answer() and refused


def test_a_phone_sees_map_and_answer_without_scrolling_aside(browser, url):
    page = Page(browser, url, "/", 390, 844, touch=True)
    assert not page.small_targets()
    page.drop(("a.jpg", "image/jpeg", jpeg(gps=True)))
    page.answer()
    assert not page.small_targets()
    width = page.tab.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    box = page.tab.locator("main").bounding_box()
    assert box["width"] <= 390 and box["y"] > 300
    # The answer is in the part of the map that the panel leaves free.
    [(x, y)] = page.tab.evaluate(
        """() => {
          const found = [];
          whereSeen(pins.places[0], (...at) => found.push(at));
          return found;
        }"""
    )
    assert 0 < x < 390 and 0 < y < box["y"]
    # It is what comes first, without scrolling.
    shown = page.tab.locator("#headline").bounding_box()
    assert shown["y"] + shown["height"] < 844 - 24
    page.close()


def test_photos_that_come_while_others_are_asked_about_replace_them(page):
    asked = []

    def first_hangs(route):
        asked.append(route)
        if len(asked) > 1:
            route.continue_()

    page.tab.route("**/api/locate*", first_hangs)
    page.drop(("a.jpg", "image/jpeg", jpeg(0)))
    page.tab.wait_for_selector(".busy")
    page.drop(("b.jpg", "image/jpeg", jpeg(1)))
    page.answer()
    assert page.tab.get_attribute("#strip img", "alt") == "b.jpg"
    assert page.tab.locator(".busy, #errors li").count() == 0
    assert len(asked) == 2


def test_the_answer_is_said_to_who_cannot_see_it(page):
    tab = page.tab
    roles = tab.evaluate(
        """() => ["message", "said", "errors"].map((id) =>
          $(id).closest("[role=status], [role=alert]")?.checkVisibility())"""
    )
    assert roles == [True] * 3  # before there is anything to say
    page.drop(("paris.jpg", "image/jpeg", jpeg(gps=True)))
    place = page.answer()
    said = tab.inner_text("#said")
    assert said.startswith(place)
    assert "% that it is in" in said and "Its EXIF" in said


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_of_the_panel_can_be_read(page, theme):
    page.drop(("a.jpg", "image/jpeg", jpeg(gps=True)), ("x", "", b"no photo"))
    page.answer()
    if page.tab.evaluate("document.documentElement.dataset.theme") != theme:
        page.tab.click("#theme")
    page.tab.click("summary")
    assert not page.faint_texts()


@pytest.mark.parametrize("width", [660, 700, 1024])
def test_a_panel_beside_the_map_leaves_the_rest_of_it_free(browser, url, width):
    page = Page(browser, url, "/", width, 800)
    free = page.tab.evaluate("freeMap()")
    assert (free["width"], free["height"]) == (width - 370, 800)
    # The world is as wide as that, or a little wider.
    assert 1 <= page.tab.evaluate("scale()") / free["width"] <= 1.26
    page.close()
