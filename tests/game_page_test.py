"""The game in a real browser, as a person plays it."""

import json
import random
import re

import browsing
import pytest
from browsing import Page
from servers import server

from planet_tf.data import data_dirs
from planet_tf.games import game_photos
from planet_tf.geo import geometry

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results") / "games.jsonl"


@pytest.fixture(scope="module")
def url(small_model, small_shards, results):
    options = f"--game_shards={small_shards}", f"--game_results={results}"
    with server(small_model, *options) as (_, address):
        yield address


@pytest.fixture(scope="module")
def truths(small_shards):
    """Where photos were taken, by their ids."""
    shards = data_dirs.open_shards(str(small_shards))
    photos = game_photos.load(shards, "test", 1000, random.Random(0))
    return {photo.photo_id: photo.place for photo in photos}


@pytest.fixture(scope="module")
def browser():
    with browsing.chromium() as launched:
        yield launched


@pytest.fixture
def page(browser, url):
    made = Page(browser, url, "/game")
    yield made
    made.close()


def km_of(text):
    """What the page says of a distance, in km."""
    return float(text.removesuffix(" off").removesuffix(" km").replace(",", ""))


def number_of(text):
    return int(text.removesuffix(" points").replace(",", ""))


def test_a_person_plays_a_whole_game(page, truths, results):
    tab = page.tab
    tab.fill("#name", "Ada")
    tab.check("#keep")
    tab.click("#begin")
    guesses, points = [], {"person": 0, "machine": 0}
    for number in range(1, 6):
        tab.wait_for_selector("#hint:visible")
        assert f"Photo {number} of 5" in tab.inner_text("#count")
        tab.evaluate("$('picture').decode()")
        assert tab.is_disabled("#go")
        # Nothing tells the truth yet: neither text nor what the page knows.
        assert not tab.evaluate("marks.some((mark) => mark.truth)")
        x, y = 600 + 100 * number, 300 + 30 * number
        tab.mouse.click(x, y)
        place = tab.evaluate(f"toPlace(...fromScreen({x}, {y}))")
        guesses.append(place)
        assert "Your guess" in tab.inner_text("#message")
        tab.click("#go")
        tab.wait_for_selector("#outcome:visible")

        truth = tab.evaluate("marks[0].truth")
        machine = tab.evaluate("marks[0].machine")
        errors = [
            geometry.great_circle_km(*guess, *truth)
            for guess in (place, machine)
        ]
        for who, km in zip(("person", "machine"), errors, strict=True):
            said = km_of(tab.inner_text(f"#{who}-km"))
            assert said == pytest.approx(km, abs=6)
            points[who] += number_of(tab.inner_text(f"#{who}-points"))
        nearer = "You are" if errors[0] < errors[1] else "The machine is"
        assert nearer in tab.inner_text("#headline")
        shares = tab.evaluate("cells.map((cell) => cell.values[0])")
        assert sum(shares) == pytest.approx(100, abs=0.1)
        # A click does not move a guess that is made.
        tab.mouse.click(x + 50, y)
        assert tab.evaluate("marks[0].person") == place
        # All three are in view.
        for mark in ("person", "machine", "truth"):
            places = tab.evaluate(
                """(mark) => {
                  const found = [];
                  whereSeen(marks[0][mark], (...at) => found.push(at));
                  return found;
                }""",
                mark,
            )
            seen = [370 < x < 1440 and 0 < y < 900 for x, y in places]
            assert any(seen), (mark, places)
        assert not page.faint_texts()
        tab.click("#go")

    tab.wait_for_selector("#end:visible")
    winner = (
        "You win" if points["person"] > points["machine"] else "The machine"
    )
    assert winner in tab.inner_text("#verdict")
    for who, total in points.items():
        assert number_of(tab.inner_text(f"#{who}-total")) == total
    assert tab.locator("#rounds tr").count() == 5
    assert tab.locator("#rounds td.near").count() == 5
    assert "Your result is kept" in tab.inner_text("#kept")

    [line] = results.read_text().splitlines()
    kept = json.loads(line)
    assert kept["player"] == "Ada"
    for one, guess in zip(kept["rounds"], guesses, strict=True):
        assert one["person"] == pytest.approx(guess)
        assert one["truth"] == pytest.approx(truths[one["photo_id"]])
        assert one["seconds"] > 0


def test_a_game_is_played_by_keyboard_alone(page):
    tab = page.tab
    tab.focus("#begin")
    tab.keyboard.press("Enter")
    for _ in range(5):
        tab.wait_for_selector("#hint:visible")
        tab.focus("#canvas")
        tab.keyboard.press("+")
        tab.keyboard.press("ArrowLeft")
        tab.keyboard.press("Enter")
        middle = tab.evaluate("toPlace(...fromScreen(...freeMiddle()))")
        assert tab.evaluate("guess") == pytest.approx(middle)
        tab.focus("#go")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#outcome:visible")
        assert tab.evaluate("document.activeElement.id") == "go"
        tab.keyboard.press("Enter")
    tab.wait_for_selector("#end:visible")
    assert tab.evaluate("document.activeElement.id") == "verdict"
    assert tab.is_hidden("#kept")
    tab.click("#again")
    tab.wait_for_selector("#round:visible")
    assert "Photo 1 of 5" in tab.inner_text("#count")
    unnamed = tab.evaluate(
        """() => [...document.querySelectorAll("button, input, img")]
          .filter((e) => !(e.getAttribute("aria-label") || e.alt ||
            e.textContent.trim() || e.labels?.length)).map((e) => e.id)"""
    )
    assert not unnamed


def test_a_guess_that_fails_is_told_and_can_be_made_again(page):
    tab = page.tab
    tab.click("#begin")
    tab.wait_for_selector("#hint:visible")
    tab.mouse.click(800, 400)
    failing = re.compile(r"/guess$")
    tab.route(
        failing,
        lambda route: route.fulfill(
            status=409, json={"error": {"code": "x", "message": "Not now."}}
        ),
    )
    tab.click("#go")
    tab.wait_for_selector("#message.failed:has-text('Not now.')")
    tab.unroute(failing)
    tab.click("#go")
    tab.wait_for_selector("#outcome:visible")


def test_a_phone_sees_the_photo_the_map_and_the_result(browser, url):
    page = Page(browser, url, "/game", 390, 844, touch=True)
    tab = page.tab
    assert not page.small_targets()
    # Nearly all of the world is there to guess on.
    assert tab.evaluate("scale()") < 1.3 * 390
    tab.click("#begin")
    tab.wait_for_selector("#hint:visible")
    tab.evaluate("$('picture').decode()")
    tab.mouse.click(150, 150)
    for button in ("#go", "#picture"):
        box = tab.locator(button).bounding_box()
        assert box["y"] + box["height"] < 844 - 24
    assert not page.small_targets()
    tab.click("#go")
    tab.wait_for_selector("#outcome:visible")
    said = tab.inner_text("#said")
    assert "nearer" in said and "It was taken" in said
    box = tab.locator("#go").bounding_box()
    assert box["y"] + box["height"] < 844 - 24
    assert tab.locator("main").bounding_box()["y"] > 300
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_the_first_page_leads_to_the_game_if_there_is_one(browser, url):
    page = Page(browser, url, "/")
    page.tab.click("#play a")
    page.tab.wait_for_selector("body[data-ready]")
    assert page.tab.is_visible("#begin")
    page.close()
