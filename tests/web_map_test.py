"""The page in a real browser, from a file, without a network."""

import io
import re

import browsing
import numpy as np
import pytest
from PIL import Image

from planet_tf.drawing import tracks, web_map
from planet_tf.geo import geometry, outlines, partition

NO_LAND = outlines.Land([], [], [], [])
EVIL = "</script><script>alert(1)</script>{{data}}"


def page_of(tokens, land=NO_LAND, track=(), **options):
    """The HTML of a map of cells whose values are their positions."""
    values = np.arange(len(tokens), dtype=float)
    cells = web_map.Cells(
        tokens,
        [
            web_map.Column("Position", values + 1),
            web_map.Column("Hidden", np.full(len(tokens), np.nan), "km²"),
        ],
        **options,
    )
    places = [(EVIL, 10.0, 20.0)]
    return web_map.page("A & B", EVIL, cells, land, places, track=track)


PARIS, NICE, NEW_YORK = (48.86, 2.35), (43.7, 7.27), (40.71, -74.0)


def answer(point, probability=0.5):
    (token,) = geometry.to_tokens(
        geometry.parents(geometry.leaf_ids(*np.array([point]).T), 3)
    )
    return tracks.Answer(*point, probability, token)


def photo(album, single=None, name="a.jpg", time="", **options):
    single = answer(single or album, 0.0625)
    return tracks.Photo(name, time, single, answer(album), **options)


def jpeg(width, height):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "JPEG")
    return file.getvalue()


def track_page(track, **options):
    """A page of a track and the cells of its answers."""
    tokens = sorted({p.album.token for p in track})
    return page_of(disjoint(tokens), track=track, **options)


def facts(page):
    """The panel's facts by their terms; None if there is no panel."""
    if page.locator("#panel").is_hidden():
        return None
    terms = page.locator("#facts dt").all_inner_texts()
    values = page.locator("#facts dd").all_inner_texts()
    return dict(zip(terms, values, strict=True))


def click_place(page, point):
    """Clicks on a point of the map where it is nearest to the view's middle."""
    x, y = page.evaluate(
        """(place) => {
          const [x, y] = toWorld(...place);
          return toScreen(x + Math.round(view.x - x), y);
        }""",
        point,
    )
    page.mouse.click(x, y)


@pytest.fixture(scope="module")
def chromium():
    with browsing.chromium() as browser:
        yield browser


@pytest.fixture
def open_page(chromium, tmp_path):
    """A function that opens HTML from a file; nothing may go wrong there."""
    faults, pages = [], []

    def check_request(request):
        if not request.url.startswith(("file://", "data:")):
            faults.append(f"asked for {request.url}")

    def opened(text, fragment="", **options):
        path = tmp_path / "map.html"
        path.write_text(text)
        size = {"width": 1000, "height": 700}
        page = chromium.new_page(viewport=size, **options)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", check_request)
        page.goto(f"{path.as_uri()}{fragment}")
        # Playwright's own way to wait is against the page's security policy.
        page.evaluate(
            """new Promise((done) => {
              const wait = () => drawn ? done() : setTimeout(wait, 10);
              wait();
            })"""
        )
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert not faults


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


def disjoint(tokens):
    """Of nested cells the largest."""
    kept, end = [], -1
    first, last = geometry.range_bounds(geometry.from_tokens(tokens))
    order = sorted(range(len(tokens)), key=lambda k: (first[k], -int(last[k])))
    for k in order:
        if int(first[k]) > end:
            kept.append(tokens[k])
            end = int(last[k])
    return kept


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
