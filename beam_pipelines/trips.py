"""Trips: paths through nearby real places over days, albums by default.

What a trip is follows from its number, the seed and the places alone. It goes
through the blocks of the Earth of one split only, the one that its own name
falls in, and never through those that the photo model is trained on: neither
a trip nor a block is on two sides of a split.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from beam_pipelines import satellite
from planet_tf.geo import geometry

BLOCK_LEVEL = 8  # S2 cells some 35 km wide
_DAY = 86_400  # seconds
_DATES = 14_610, 18_262  # days since 1970: the years 2010 to 2019
_NUMBERS = 4096  # trips whose split is looked up at a time
_PLAN = 2  # tells a trip's random numbers from those of its views


@dataclasses.dataclass(frozen=True)
class Rule:
    """What trips are like; what is not said otherwise is drawn evenly.

    Attributes:
      min_views: of a trip.
      max_views: of a trip; the logarithm of their number is drawn evenly, so
        that there are more short trips than long ones.
      stop_views: most views at one stop; the fewest are one.
      near_km: the next stop lies within so far, if there is any place. Blocks
        are drawn evenly, so that a trip leaves a city with many places.
      far_km: or so far, for some: a train or a flight. How much better than
        an album's average an album model can be grows with it, so that it is
        a choice: half of the trips have all views within 700 km of one place.
      far_share: share of the stops after which it may be far.
      nearest: where no place is within reach, one of so many nearest.
      first_hour: of the day, by the sun: no photos at night.
      last_hour: of the day.
      pause: most minutes between two views at one stop.
      km_per_hour: from stop to stop, and up to two hours more.
      uninformative: share of views that tell nothing of their place. The gain
        of albums grows with it, so that it is a choice: in a trial 40 % left
        a single view right half of the time, and most of a trip clear.
    """

    min_views: int = 5
    max_views: int = 60
    stop_views: int = 4
    near_km: float = 150.0
    far_km: float = 2000.0
    far_share: float = 0.1
    nearest: int = 5
    first_hour: int = 8
    last_hour: int = 20
    pause: int = 40
    km_per_hour: float = 80.0
    uninformative: float = 0.4


class TooFewPlacesError(ValueError):
    """A split has no room for the trips that fall in it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """The places that trips of one split may visit.

    Attributes:
      places: (n, 2) = (lat, lng), distinct.
      vectors: (3, n), the places on the unit sphere.
      weights: (n,), those of a block's places add up to 1.
    """

    places: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, places: np.ndarray) -> "Pool":
        """The pool of distinct places (n, 2)."""
        _, block, sizes = np.unique(
            block_owners(places), return_inverse=True, return_counts=True
        )
        vectors = np.ascontiguousarray(geometry.to_vectors(*places.T).T)
        return cls(places, vectors, 1 / sizes[block])


@dataclasses.dataclass(frozen=True, eq=False)
class Trip:
    """The views of a trip, in the order of time.

    Attributes:
      number: of the trip.
      places: (n, 2) = (lat, lng), of the stop where a view is made.
      taken_at: (n,) int64 Unix seconds, rising.
      kinds: (n,) str: "clear", or what the view shows instead.
    """

    number: int
    places: np.ndarray
    taken_at: np.ndarray
    kinds: np.ndarray


def block_owners(places: np.ndarray) -> np.ndarray:
    """The owner of the views of each place (n, 2): its block, (n,) str."""
    leaves = geometry.leaf_ids(*places.T)
    blocks, which = np.unique(
        geometry.parents(leaves, BLOCK_LEVEL), return_inverse=True
    )
    tokens = geometry.to_tokens(blocks)
    return np.array([f"block-{token}" for token in tokens], object)[which]


def trip_owner(number: int) -> str:
    """The owner and the album of a trip's views."""
    return f"trip-{number:06d}"


def pools(
    places: np.ndarray,
    fractions: Mapping[str, float],
    seed: int,
    rule: Rule,
) -> dict[str, Pool]:
    """The places of each split but "train", of distinct places (n, 2).

    Raises:
      TooFewPlacesError: if a split's are not enough for the longest trip.
    """
    names = _splits_of(block_owners(places), fractions, seed)
    sizes = {name: int((names == name).sum()) for name in fractions}
    for name, share in fractions.items():
        if share > 0 and sizes[name] < rule.max_views:
            raise TooFewPlacesError(
                f"only {sizes[name]} of {len(places)} places are in blocks of"
                f" the split {name}; a trip visits up to {rule.max_views}:"
                f" give more than --{name}_fraction={share:g}, or another"
                " --split_seed"
            )
    return {
        name: Pool.of(places[names == name])
        for name in fractions
        if sizes[name] >= rule.max_views
    }


def held_out(
    count: int, fractions: Mapping[str, float], seed: int
) -> Iterator[tuple[int, str]]:
    """The first `count` trips whose split is not "train": number, split.

    One of the fractions must be more than 0.
    """
    return itertools.islice(_all_held_out(fractions, seed), count)


def _all_held_out(
    fractions: Mapping[str, float], seed: int
) -> Iterator[tuple[int, str]]:
    for start in itertools.count(step=_NUMBERS):
        owners = [trip_owner(start + i) for i in range(_NUMBERS)]
        names = _splits_of(owners, fractions, seed)
        for i in np.flatnonzero(names != "train").tolist():
            yield start + i, names[i]


def plan(pool: Pool, seed: int, number: int, rule: Rule) -> Trip:
    """The trip of a number through a pool of `rule.max_views` or more."""
    rng = np.random.default_rng([seed, number, 0, _PLAN])
    views = _views_of_stops(rule, rng)
    stops = np.repeat(_walk(pool, len(views), rule, rng), views)
    places = pool.places[stops]
    uninformative = rng.random(len(places)) < rule.uninformative
    kinds = rng.choice(satellite.UNINFORMATIVE_KINDS, len(places))
    return Trip(
        number=number,
        places=places,
        taken_at=_times(places, rule, rng),
        kinds=np.where(uninformative, kinds, satellite.CLEAR),
    )


def _splits_of(
    owners: Iterable[str], fractions: Mapping[str, float], seed: int
) -> np.ndarray:
    """The splits that write_shards finds for photos of these owners."""
    from beam_pipelines import splits  # imports Beam, for seconds

    return splits.of_keys(
        [f"owner {owner}" for owner in owners], fractions, seed
    )


def _views_of_stops(rule: Rule, rng: np.random.Generator) -> np.ndarray:
    """Number of views at each stop, (stops,)."""
    bounds = np.log([rule.min_views, rule.max_views])
    total = int(np.rint(np.exp(rng.uniform(*bounds))))
    ends = np.cumsum(rng.integers(1, rule.stop_views + 1, rule.max_views))
    views = np.diff(np.minimum(ends, total), prepend=0)
    return views[views > 0]


def _walk(
    pool: Pool, stops: int, rule: Rule, rng: np.random.Generator
) -> np.ndarray:
    """Indices (stops,) of distinct places, each near the one before."""
    walk = [int(rng.integers(len(pool.places)))]
    unvisited = np.ones(len(pool.places), bool)
    while len(walk) < stops:
        unvisited[walk[-1]] = False
        walk.append(_next_stop(pool, walk[-1], unvisited, rule, rng))
    return np.array(walk)


def _next_stop(
    pool: Pool,
    here: int,
    unvisited: np.ndarray,
    rule: Rule,
    rng: np.random.Generator,
) -> int:
    """Index of a place within reach, else of one of the nearest."""
    x, y, z = pool.vectors
    # Sums in this order are the same on any machine, unlike those of BLAS.
    cosines = x * x[here] + y * y[here] + z * z[here]
    km = rule.far_km if rng.random() < rule.far_share else rule.near_km
    reach = np.cos(km / geometry.EARTH_RADIUS_KM)
    near = np.flatnonzero(unvisited & (cosines >= reach))
    if not len(near):
        rest = np.flatnonzero(unvisited)
        order = np.argsort(-cosines[rest], kind="stable")
        near = rest[order[: rule.nearest]]
    ends = np.cumsum(pool.weights[near])
    chosen = np.searchsorted(ends, rng.random() * ends[-1], side="right")
    return int(near[min(chosen, len(near) - 1)])  # if rounded up to the end


def _times(
    places: np.ndarray, rule: Rule, rng: np.random.Generator
) -> np.ndarray:
    """Unix seconds (n,) of views at places (n, 2), rising, by daylight."""
    n = len(places)
    km = geometry.great_circle_km(*places[:-1].T, *places[1:].T)
    travel = (km / rule.km_per_hour * 3600).astype(np.int64)
    travel += np.where(km > 0, rng.integers(0, 7200, n - 1), 0)
    steps = rng.integers(60, 60 * rule.pause, n) + np.append(0, travel)
    delays = rng.integers(0, 7200, n)  # of mornings
    ahead = np.floor(places[:, 1] * 240).astype(np.int64)  # of UTC, seconds
    now = int(rng.integers(*_DATES)) * _DAY + int(rng.integers(_DAY))
    times = []
    for step, delay, offset in zip(
        steps.tolist(), delays.tolist(), ahead.tolist(), strict=True
    ):
        now += step
        second = (now + offset) % _DAY  # by the sun
        if second < 3600 * rule.first_hour:
            now += 3600 * rule.first_hour - second + delay
        elif second >= 3600 * rule.last_hour:
            now += _DAY + 3600 * rule.first_hour - second + delay
        times.append(now)
    return np.array(times, np.int64)
