"""The page in a real browser, from a file, without a network."""

import re

import browsing
import map_pages
import numpy as np
import pytest
from map_pages import EVIL, disjoint, page_of

from planet_tf.drawing import web_map
from planet_tf.geo import geometry, outlines, partition


@pytest.fixture(scope="module")
def chromium():
    with browsing.chromium() as browser:
        yield browser


@pytest.fixture
def open_page(chromium, tmp_path):
    with map_pages.opener(chromium, tmp_path / "map.html") as opened:
        yield opened


def tokens_of_all_levels(n=6):
    """Cells of all levels: n each at random, at poles and the antimeridian."""
    rng = np.random.default_rng(0)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    lng = rng.uniform(-180, 180, n)
    lat = np.concatenate([lat, [90, -90, -17, -17, 89.9, 40.7]])
    lng = np.concatenate([lng, [0, 0, 179.9999, -179.9999, 100, -74]])
    leaves = geometry.leaf_ids(lat, lng)
    ids = [geometry.parents(leaves, level) for level in range(31)]
    return geometry.to_tokens(np.unique(np.concatenate(ids)))


def colours(page):
    """Distinct colours of the canvas, and the share of the first one."""
    return page.evaluate(
        """() => {
          draw();
          const pixels = new Uint32Array(context.getImageData(
            0, 0, canvas.width, canvas.height).data.buffer);
          const counts = new Map();
          for (const p of pixels) counts.set(p, (counts.get(p) ?? 0) + 1);
          return [counts.size, Math.max(...counts.values()) / pixels.length];
        }"""
    )


def test_cells_are_decoded_as_by_s2geometry(open_page):
    page = open_page(page_of(["1", "3"]))
    tokens = tokens_of_all_levels()
    assert len(tokens) > 250
    found = page.evaluate(
        """(tokens) => tokens.map((t) => {
          const cell = S2.cell(t);
          return [cell.level, S2.centre(cell),
            S2.corners(cell).map(S2.toDegrees)];
        })""",
        tokens,
    )
    ids = geometry.from_tokens(tokens)
    centres = geometry.from_vectors(geometry.cell_vectors(ids))
    assert [row[0] for row in found] == geometry.levels(ids).tolist()
    for token, centre, row in zip(tokens, centres, found, strict=True):
        expected = np.vstack([centre, geometry.cell_outline(token)])
        got = np.vstack([[row[1]], row[2]])
        assert np.abs(expected[:, 0] - got[:, 0]).max() < 1e-9
        turns = (expected[:, 1] - got[:, 1] + 180) % 360 - 180
        turns[np.abs(expected[:, 0]) > 90 - 1e-9] = 0  # at a pole: any
        assert np.abs(turns).max() < 1e-9


def test_what_is_no_token_is_no_cell(open_page):
    page = open_page(page_of(["1"]))
    bad = ["", "0", "x", "d1", "4.7e+064", "10", "2", "f", "1" * 17, "8"]
    found = page.evaluate("(tokens) => tokens.map(S2.cell)", bad)
    assert found == [None] * len(bad)


def test_points_are_found_in_the_cells_that_hold_them(open_page):
    rng = np.random.default_rng(1)
    points = geometry.from_vectors(rng.normal(size=(300, 3)))
    points[:4] = [(90, 0), (-90, 0), (35.26, 45), (-17, -180)]
    cells = partition.build(*points.T, max_photos=2, min_photos=2)
    page = open_page(page_of(cells.tokens))
    found = page.evaluate(
        "(points) => points.map((p) => cellAt(...p)?.token ?? null)",
        points.tolist(),
    )
    labels = cells.labels(*points.T)
    expected = [cells.tokens[k] if k >= 0 else None for k in labels]
    assert found == expected and None in found


def test_nothing_in_the_data_is_ever_part_of_the_page(open_page):
    text = page_of(["1", "3"], names=[EVIL, "Nice"])
    assert "alert(1)</script>" not in text
    page = open_page(text, "#1")
    assert page.locator("h1").inner_text() == "A & B"
    assert page.locator("header p").inner_text() == EVIL
    assert page.locator("#place").inner_text() == EVIL
    assert re.findall(r"src\s*=|url\(|@import|https?:", text) == []


@pytest.mark.parametrize("token", ["1", "5", "7", "9", "b", "44", "b4", "54"])
def test_faces_and_cells_at_the_poles_are_filled(open_page, token):
    page = open_page(page_of([token]), f"#{token}")
    filled = page.evaluate(
        """([lat, lng]) => {
          setColumn(0);
          moveTo(...toWorld(lat, lng), 4);
          draw();
          const [x, y] = toScreen(...toWorld(lat, lng)
            .map((v, k) => k ? v : v + Math.round(view.x - v)));
          return [[0, 0], [4, 4], [-4, 3]].map(([dx, dy]) => 'rgb(' +
            [...context.getImageData(x + dx + 40, y + dy + 40, 1, 1).data]
              .slice(0, 3) + ')' === theme.colours[cells[0].bin]);
        }""",
        inner_point(token),
    )
    assert filled == [True] * 3


def inner_point(token):
    """A point of a cell that Mercator shows."""
    [[lat, lng]] = geometry.from_vectors(
        geometry.cell_vectors(geometry.from_tokens([token]))
    ).tolist()
    return [max(-80, min(80, lat)), lng]


def test_the_search_finds_cells_and_places_and_says_if_not(open_page):
    tokens = disjoint(["47e67", "89c25", "6e1f"])
    page = open_page(page_of(tokens))

    def ask(query):
        page.fill("#query", query)
        page.keyboard.press("Enter")
        return page.locator("#message").inner_text()

    assert ask(" 89C25 ") == ""
    assert page.evaluate("selected.token") == "89c25"
    assert page.evaluate("location.hash") == "#89c25"
    assert ask("48.86, 2.35") == ""
    assert page.evaluate("selected.token") == "47e67"
    assert page.locator("#facts").inner_text().count("unknown") == 1
    assert ask("47e9") == "That cell is not in this map."
    assert ask("0, 0") == "No cell there."
    assert "90" in ask("91, 0")
    assert ask("4.7E+064") == "Neither a cell token nor lat, lng."
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden()


def test_keys_buttons_and_themes_work(open_page):
    page = open_page(page_of(["89c25", "47e67"]), color_scheme="dark")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.click("#theme")
    assert page.evaluate(theme) == "light"
    page.focus("canvas")
    x, zoom = page.evaluate("[view.x, view.zoom]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    assert page.evaluate("view.x") > x
    assert page.evaluate("view.zoom") == zoom + 1
    page.keyboard.press("Home")
    page.click("#in")
    assert page.evaluate("view.zoom") == pytest.approx(zoom + 1)
    page.evaluate("moveTo(...toWorld(48.86, 2.35), 12)")
    page.focus("canvas")
    page.keyboard.press("Enter")
    assert page.evaluate("selected.token") == "47e67"
    page.select_option("#column", label="Hidden")
    assert page.locator("#unit").inner_text() == "Hidden (km²)"


def test_the_world_goes_on_across_the_antimeridian(open_page):
    tokens = disjoint(["6e1f", "71f"])  # on both sides of it
    page = open_page(page_of(tokens))
    for lng in (179.5, -179.5):
        page.evaluate(f"moveTo(...toWorld(-17, {lng}), 5)")
        page.evaluate("draw()")
        assert page.evaluate("drawn") == 2


@pytest.fixture(scope="module")
def many_cells():
    """26,000 cells: clusters of all sizes over the whole Earth."""
    rng = np.random.default_rng(0)
    n = 600_000
    centres = geometry.from_vectors(rng.normal(size=(2000, 3)))
    near = centres[rng.zipf(1.3, n) % len(centres)]
    km = 10 ** rng.uniform(-2, 2.2, (n, 1))
    turn = rng.uniform(0, 2 * np.pi, n)
    step = km * np.stack([np.sin(turn), np.cos(turn)], -1) / 111
    lat = (near[:, 0] + step[:, 0]).clip(-90, 90)
    lng = near[:, 1] + step[:, 1] / np.cos(np.radians(lat)).clip(0.01)
    lat[:2000], lng[:2000] = 40.7, -74.0  # a hot spot, down to level 20
    return partition.build(
        lat, geometry.wrap_lng(lng), max_photos=40, min_photos=5
    )


@pytest.mark.slow
def test_26000_cells_are_shown_and_picked_at_every_zoom(open_page, many_cells):
    tokens = many_cells.tokens
    assert 22_000 < len(tokens) < 40_000
    text = page_of(
        tokens,
        outlines.land("l", web_map.LEAST_LAND_KM2),
        points=many_cells.latlng,
        names=[f"Town {k % 5000}" for k in range(len(tokens))],
    )
    assert len(text) < 1_500_000 * len(tokens) / 26_000
    page = open_page(text)
    page.evaluate("home(); draw()")
    world = page.evaluate("[drawn, cells.length]")
    assert world[1] == len(tokens)
    assert world[0] >= 26_000  # the others are near the poles
    assert colours(page)[0] > 30
    rng = np.random.default_rng(2)
    for k in rng.integers(0, len(tokens), 12):
        lat, lng = many_cells.points[k]
        level = geometry.levels(many_cells.ids)[k]
        page.evaluate(f"moveTo(...toWorld({lat}, {lng}), {level + 2})")
        page.evaluate("select(null)")
        x, y = page.evaluate(f"toScreen(view.x, toWorld({lat}, {lng})[1])")
        if abs(lat) < 84:
            page.evaluate(f"pickAt({x}, {y})")
            assert page.evaluate("selected.token") == tokens[k]
    page.evaluate("select(null); home()")
    page.evaluate("moveTo(...toWorld(40.7, -74.0), 3)")
    page.mouse.move(500, 350)
    for _ in range(15):
        page.mouse.wheel(0, -250)
        page.wait_for_timeout(30)
        number, largest = colours(page)
        assert number > 3 and largest < 0.999
    assert page.evaluate("view.zoom") == 18
    page.mouse.click(500, 350)
    assert page.evaluate("selected.token") == many_cells.token(
        many_cells.labels(np.array([40.7]), np.array([-74.0]))[0]
    )


def test_what_is_far_outside_the_view_is_cut_off(open_page):
    page = open_page(page_of(["1"]))
    page.evaluate("moveTo(...toWorld(0.001, 0.001), 21)")
    largest, number = page.evaluate(
        """(() => {
          const screen = onScreen(exactRing(cells[0]), 0);
          return [Math.max(...screen.map(Math.abs)), screen.length];
        })()"""
    )
    assert number >= 8 and largest <= 1000 + 31


def test_a_drag_moves_the_map_and_picks_no_cell(open_page):
    page = open_page(page_of(["1", "3"]))
    before = page.evaluate("fromScreen(400, 300)")
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(450, 320, steps=4)
    page.mouse.up()
    after = page.evaluate("fromScreen(450, 320)")
    assert after[0] == pytest.approx(before[0], abs=0.01)
    assert page.evaluate("selected") is None
