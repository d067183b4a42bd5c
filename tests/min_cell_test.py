"""--min_cell_km as a property: nothing that is said is finer than asked."""

import functools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planet_tf.answering import photo_answers, prediction_files
from planet_tf.geo import coarsening, geometry, partition

# Powers of two, whose sums are exact in any order.
_PARTS = 1 << 10


def fine_cells(other_class):
    """Cells of 30 m to 1,000 km, at the antimeridian and the poles too."""
    rng = np.random.default_rng(5)
    centres = rng.uniform([-85, -180], [85, 180], (30, 2))
    centres[:4] = [[89.9, 0], [-89.9, 30], [-17, 180], [40.7, -74]]
    found = centres[rng.integers(0, 30, 6000)]
    found = found + rng.normal(size=(6000, 2)) * 10 ** rng.uniform(
        -4, 1, (6000, 1)
    )
    found[:, 1] = geometry.wrap_lng(found[:, 1])
    return partition.build(
        *found.clip([-90, -180], [90, 180]).T,
        max_photos=20,
        min_photos=2,
        max_level=20,
        other_class=other_class,
    )


FINE = {other: fine_cells(other) for other in (False, True)}


@st.composite
def distributions(draw):
    """Probabilities, and others that differ within wide cells alone."""
    other, km = draw(st.booleans()), draw(st.sampled_from([1, 25, 300, 3000]))
    fine = FINE[other]
    wide = coarsening.to_width(fine, km)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    cells = rng.integers(0, len(fine.tokens), draw(st.integers(1, 40)))
    parts = np.diff(
        np.sort(rng.integers(0, _PARTS, len(cells) - 1)),
        prepend=0,
        append=_PARTS,
    )
    owner = wide.partition.labels(*fine.latlng.T) - int(other)
    moved = [rng.choice(np.flatnonzero(owner == owner[c])) for c in cells]
    found = np.zeros((2, fine.num_classes), np.float32)
    for row, places in zip(found, (cells, moved), strict=True):
        np.add.at(row, np.array(places) + int(other), parts / _PARTS)
    return other, km, found


@functools.cache
def limited(other, km):
    """What makes answers, and what makes its probabilities."""
    wide, sums = coarsening.limited(FINE[other], km)
    return photo_answers.Answerer(wide), sums


def said(other, km, probabilities):
    """All that programs say of a photo: their files, and lines for people."""
    answerer, sums = limited(other, km)
    answers = answerer.answers(sums(probabilities), top=5)
    formats = prediction_files.FORMATS.values()
    return [
        [*(form.photo("a", answer, 5) for form in formats), *answer.lines()]
        for answer in answers
    ]


@settings(max_examples=60, deadline=None)
@given(distributions())
def test_what_is_said_depends_on_the_sums_of_wide_cells_alone(case):
    other, km, probabilities = case
    one, two = said(other, km, probabilities)
    assert one == two


@settings(max_examples=60, deadline=None)
@given(distributions())
def test_no_cell_is_narrower_and_no_cell_has_two_points(case):
    other, km, probabilities = case
    fine = FINE[other]
    answerer, sums = limited(other, km)
    answers = answerer.answers(sums(probabilities))
    points = {}
    for cell in (cell for answer in answers for cell in answer.cells):
        assert geometry.cell_area_km2(cell.token) ** 0.5 >= km
        assert cell.width_km >= km
        point = cell.lat, cell.lng
        assert points.setdefault(cell.token, point) == point
    narrow = [t for t in fine.tokens if geometry.cell_area_km2(t) ** 0.5 < km]
    text = "\n".join(sum(said(other, km, probabilities), []))
    tokens = set(re.findall(r"[0-9a-f]+", text))
    assert not tokens & {token for token in narrow if len(token) > 6}


def test_without_a_limit_the_same_photos_are_told_apart():
    fine = FINE[False]
    wide = coarsening.to_width(fine, 25)
    owner = wide.partition.labels(*fine.latlng.T)
    together = np.flatnonzero(owner == np.bincount(owner).argmax())
    assert len(together) > 5  # the properties above are not trivial
    probabilities = np.zeros((2, fine.num_classes), np.float32)
    probabilities[0, together[0]] = probabilities[1, together[1]] = 1
    one, two = said(False, 0, probabilities)
    assert one != two
    assert pytest.approx(1) == probabilities.sum(axis=1)
