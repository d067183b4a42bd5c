"""The page of a track in a real browser, from a file, without a network."""

import re

import browsing
import map_pages
import numpy as np
import pytest
from map_pages import (
    EVIL,
    NEW_YORK,
    NICE,
    PARIS,
    answer,
    click_place,
    facts,
    jpeg,
    page_of,
    photo,
    track_page,
)


@pytest.fixture(scope="module")
def chromium():
    with browsing.chromium() as browser:
        yield browser


@pytest.fixture
def open_page(chromium, tmp_path):
    with map_pages.opener(chromium, tmp_path / "map.html") as opened:
        yield opened


def test_a_dot_of_the_track_shows_its_photo(open_page):
    track = [
        photo(PARIS, time="May 1"),
        photo(NICE, PARIS, "b.jpg", truth=(43.7, 7.4), outlier=True),
    ]
    page = open_page(track_page(track))
    assert facts(page) is None
    assert page.locator("#count").inner_text() == "2 photos"
    click_place(page, NICE)
    assert page.locator("#place").inner_text() == "2. b.jpg"
    assert page.locator("#remark").inner_text().startswith("Outlier:")
    assert facts(page) == {
        "Album's answer": "43.700, 7.270 (50\xa0%)",
        "Cell": answer(NICE).token,
        "Photo alone": "48.860, 2.350 (6.25\xa0%)",
        "Apart": "687 km",
        "Truth": "43.7000, 7.4000",
        "Error": "10.5 km",
    }
    assert page.evaluate("selected.token") == answer(NICE).token
    click_place(page, PARIS)
    assert page.locator("#place").inner_text() == "1. a.jpg"
    assert page.locator("#remark").is_hidden()
    assert facts(page)["Time"] == "May 1"
    assert "Truth" not in facts(page) and facts(page)["Apart"] == "0 km"
    page.click("#facts a")
    assert page.evaluate("[photo, location.hash]") == [
        None,
        "#" + answer(PARIS).token,
    ]
    assert facts(page)["Token"] == answer(PARIS).token
    click_place(page, PARIS)
    page.evaluate("showHash()")  # as if the address were entered again
    assert "Token" in facts(page)
    page.keyboard.press("Escape")
    assert facts(page) is None


def test_a_click_beside_the_track_picks_a_cell(open_page):
    page = open_page(track_page([photo(PARIS), photo(NICE)]))
    x, y = page.evaluate(f"toScreen(...toWorld({PARIS[0]}, {PARIS[1]}))")
    page.mouse.click(x - 20, y)
    assert page.evaluate("photo") is None
    assert page.evaluate("selected.token") == answer(PARIS).token


def test_nothing_of_a_track_is_ever_part_of_the_page(open_page):
    named = photo(PARIS, NICE, EVIL, EVIL, jpeg=jpeg(3, 2))
    text = track_page([named], names=[EVIL])
    assert "alert(1)</script>" not in text
    assert re.findall(r"src\s*=|url\(|@import|https?:", text) == []
    page = open_page(text)
    page.keyboard.press("n")
    assert page.locator("#place").inner_text() == f"1. {EVIL}"
    assert facts(page)["Time"] == EVIL
    assert facts(page)["Place"] == EVIL
    assert page.get_attribute("#picture", "alt") == EVIL
    assert page.locator("script").count() == 2


def test_pictures_are_shown_of_photos_that_have_one(open_page):
    track = [
        photo(PARIS, jpeg=jpeg(30, 20)),
        photo(NICE),
        photo(NEW_YORK, jpeg=jpeg(20, 40)),
    ]
    page = open_page(track_page(track))
    sizes = []
    for k in range(3):
        page.keyboard.press("n")
        if page.locator("#picture").is_visible():
            size = page.evaluate(
                """async () => {
                  const picture = $("picture");
                  await picture.decode();
                  return [picture.naturalWidth, picture.naturalHeight];
                }"""
            )
            sizes.append((k, size))
    assert sizes == [(0, [30, 20]), (2, [20, 40])]
    page.keyboard.press("Escape")
    page.evaluate("select(cells[0])")
    assert page.locator("#picture").is_hidden()


def test_keys_and_buttons_go_along_the_track(open_page):
    track = [photo(p, name=f"{p}") for p in (PARIS, PARIS, NICE, NEW_YORK)]
    page = open_page(track_page(track))

    def shown():
        return page.locator("#count").inner_text()

    assert page.is_disabled("#previous")
    for expected in ("1 of 4", "2 of 4", "3 of 4"):
        page.keyboard.press("n")
        assert shown() == expected
    page.click("#next")
    assert shown() == "4 of 4" and page.is_disabled("#next")
    page.keyboard.press("n")
    assert shown() == "4 of 4"
    page.keyboard.press("p")
    page.click("#previous")
    assert shown() == "2 of 4"
    page.locator("#position-in-track").fill("4")
    assert shown() == "4 of 4"
    page.focus("#query")
    page.keyboard.type("pp")
    assert shown() == "4 of 4"
    page.keyboard.press("Escape")
    assert shown() == "4 photos"
    # The photos of one dot, one after the other.
    for expected in ("1 of 4", "2 of 4", "1 of 4"):
        click_place(page, PARIS)
        assert shown() == expected


def test_the_start_shows_all_of_the_track(open_page):
    ends = [(48.9, 2.3), (48.8, 2.4), (48.7, 2.35)]
    page = open_page(track_page([photo(p, jpeg=jpeg(9, 9)) for p in ends]))
    in_view = """(places) => places.every((place) => {
      let seen = false;
      eachOnScreen(toWorld(...place), (x, y) => {
        seen ||= document.elementFromPoint(x, y) === canvas;
      });
      return seen;
    })"""
    assert page.evaluate(in_view, ends)
    start = page.evaluate("[view.x, view.y, view.zoom]")
    assert start[2] > 9
    page.click("#home")
    assert page.evaluate("view.zoom") < 4
    page.keyboard.press("f")
    assert page.evaluate("[view.x, view.y, view.zoom]") == pytest.approx(start)
    # A photo out of the view is moved to, on a narrow screen too.
    for size in ((1000, 700), (390, 780)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.keyboard.press("Escape")
        page.evaluate("moveTo(...toWorld(10, 100), 8)")
        assert not page.evaluate(in_view, ends[:1])
        page.keyboard.press("n")
        assert page.evaluate(in_view, ends[:1])


def test_a_track_goes_the_short_way_across_the_antimeridian(open_page):
    east, west = (-17.0, 179.0), (-17.0, -179.0)
    page = open_page(track_page([photo(east, west), photo(west), photo(east)]))
    x = page.evaluate("track.map(([x]) => x)")
    assert abs(x[1] - x[0]) == pytest.approx(2 / 360)
    assert x[2] == pytest.approx(x[0])
    assert page.evaluate("view.zoom") > 6
    for place in (east, west):
        page.keyboard.press("Escape")
        click_place(page, place)
        assert facts(page)["Album's answer"].startswith(
            f"{place[0]:.3f}, {place[1]:.3f}"
        )
    # The line is where it should be, and nowhere else, in all turns.
    on_line = """(lng) => {
      select(null);
      moveTo(...toWorld(-17, lng), 7);
      draw();
      const [red, green, blue] = context.getImageData(
        Math.floor(view.width / 2), Math.floor(view.height / 2), 1, 1).data;
      const hex = theme.track.match(/[0-9a-f]{2}/g).map((h) => parseInt(h, 16));
      return [red, green, blue].every((v, k) => Math.abs(v - hex[k]) < 60);
    }"""
    lngs = [179.5, 180, -179.5, -180, 178.5, -178.5, 0, 90]
    found = [page.evaluate(on_line, lng) for lng in lngs]
    assert found == [True] * 4 + [False] * 4


@pytest.mark.parametrize("pole", [90, -90])
def test_a_track_at_a_pole_is_shown(open_page, pole):
    page = open_page(track_page([photo((pole, 0.0)), photo((pole * 0.9, 9.0))]))
    page.keyboard.press("n")
    assert facts(page)["Album's answer"].startswith(f"{pole}.000")
    assert page.evaluate("[view.x, view.y, view.zoom].every(isFinite)")


def test_lines_far_outside_the_view_are_cut_off(open_page):
    page = open_page(track_page([photo(PARIS), photo(NEW_YORK)]))
    page.evaluate("moveTo(...toWorld(48.86, 2.35), 21)")
    ends = page.evaluate(
        """cutLine(...track.map(([x, y]) =>
          toScreen(x - track[0][0] + view.x, y)))"""
    )
    assert np.abs(ends).max() <= 1031
    assert page.evaluate("cutLine([-500, 10], [2000, 10])") == [
        [-30, 10],
        [1030, 10],
    ]
    assert page.evaluate("cutLine([-500, -90], [2000, -90])") is None
    assert page.evaluate("cutLine([-100, 0], [0, -100])") is None


def test_a_thousand_photos_are_shown(open_page):
    turn = np.linspace(0, 20, 1000)
    points = np.stack([46 + turn * np.sin(turn), 5 + turn * np.cos(turn)], -1)
    track = [photo(tuple(p), NICE) for p in points.tolist()]
    page = open_page(track_page(track))
    page.locator("#position-in-track").fill("700")
    assert page.locator("#place").inner_text() == "700. a.jpg"
    assert page.evaluate("dotsOfTrack.length") == 1000
    numbers = page.evaluate("placeNumbers(new Boxes()).map(([t]) => t)")
    assert {"1", "1000"} <= set(numbers) and len(numbers) < 50


def test_a_page_without_a_track_has_no_controls_of_one(open_page):
    page = open_page(page_of(["1", "3"]))
    for control in ("#track", "#fit", "#marks", "#picture", "#remark"):
        assert page.locator(control).is_hidden()
    for key in "npf":
        page.keyboard.press(key)
    assert page.locator("#panel").is_hidden()
    page = open_page(track_page([photo(PARIS)]))
    for control in ("#track", "#fit", "#marks"):
        assert page.locator(control).is_visible()
    assert page.locator("#marks .truth").is_hidden()
    assert page.locator("#marks .outlier").is_hidden()
