"""Pages of maps and of tracks, and what is done with them in a browser."""

import contextlib
import io

import numpy as np
from PIL import Image

from planet_tf.drawing import tracks, web_map
from planet_tf.geo import geometry, outlines

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


@contextlib.contextmanager
def opener(browser, path):
    """A function that opens HTML from a file; nothing may go wrong there."""
    faults, pages = [], []

    def check_request(request):
        if not request.url.startswith(("file://", "data:")):
            faults.append(f"asked for {request.url}")

    def opened(text, fragment="", **options):
        path.write_text(text)
        size = {"width": 1000, "height": 700}
        page = browser.new_page(viewport=size, **options)
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
