import numpy as np
import pytest

from planet_tf.reports import bootstrap

RNG = np.random.default_rng(7)


def resampled(boot, seed):
    """The photos of each resample, by drawing them one by one."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(boot.group == g) for g in range(boot.groups)]
    for _ in range(boot.resamples):
        drawn = rng.integers(0, boot.groups, boot.groups, dtype=np.uint32)
        yield np.concatenate([members[g] for g in drawn])


@pytest.mark.parametrize("groups", [None, 9])
def test_sums_and_medians_are_those_of_the_drawn_photos(groups, monkeypatch):
    monkeypatch.setattr(bootstrap, "_BATCH", 7)  # several batches
    monkeypatch.setattr(bootstrap, "_WINDOW", 0)  # which has to grow
    values = RNG.exponential(100, (50, 3)).round(1)
    values[RNG.random((50, 3)) < 0.2] = np.nan
    first = np.nan_to_num(values[:, 0], nan=np.inf)
    part = RNG.integers(0, 4, 50)
    part[part == 2] = -1  # a part without photos
    if groups:
        boot = bootstrap.of_groups(
            RNG.integers(0, groups, 50).astype(str), resamples=30, seed=3
        )
    else:
        boot = bootstrap.of_photos(50, resamples=30, seed=3)
    sums, counts = boot.sums(values, part, 4)
    assert sums.shape == counts.shape == (30, 4, 3)
    medians = boot.medians(first)
    for i, photos in enumerate(resampled(boot, 3)):
        for p in range(4):
            own = values[photos[part[photos] == p]]
            np.testing.assert_allclose(
                sums[i, p], np.nansum(own, axis=0), rtol=1e-12
            )
            assert (counts[i, p] == (~np.isnan(own)).sum(0)).all()
        assert medians[i] == np.median(first[photos])
    assert len(set(medians)) > 5


def test_many_photos_are_drawn_in_groups_of_the_same_spread(monkeypatch):
    values = RNG.exponential(100, 3000)[:, None]
    monkeypatch.setattr(bootstrap, "MOST_GROUPS", 500)
    boot = bootstrap.of_photos(3000)
    assert boot.groups == 500
    assert (np.bincount(boot.group) == 6).all()
    sums, counts = boot.sums(values, np.zeros(3000, int), 1)
    spread = np.std((sums / counts)[:, 0, 0])
    assert spread == pytest.approx(np.std(values) / np.sqrt(3000), rel=0.1)
    medians = boot.medians(values[:, 0])
    # Of an exponential: 1 / (2 f(median) sqrt(n)) = its mean / sqrt(n).
    assert np.std(medians) == pytest.approx(100 / np.sqrt(3000), rel=0.2)


def test_the_interval_of_a_share_is_about_the_binomial_one():
    hits = (np.arange(1000) < 300).astype(float)[:, None]
    boot = bootstrap.of_photos(1000, resamples=2000, seed=1)
    sums, counts = boot.sums(hits, np.zeros(1000, int), 1)
    low, high = boot.interval((sums / counts)[:, 0, 0])
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert low == pytest.approx(0.3 - half, abs=0.005)
    assert high == pytest.approx(0.3 + half, abs=0.005)


def test_intervals_over_groups_cover_what_photos_alone_would_miss():
    # Of each group all photos are right or all wrong.
    rng = np.random.default_rng(1)
    covered = {"groups": 0, "photos": 0}
    for trial in range(100):
        hits = np.repeat(rng.random(60) < 0.6, 10).astype(float)[:, None]
        options = {"resamples": 200, "seed": trial}
        for name, boot in (
            ("groups", bootstrap.of_groups(np.arange(600) // 10, **options)),
            ("photos", bootstrap.of_photos(600, **options)),
        ):
            sums, counts = boot.sums(hits, np.zeros(600, int), 1)
            low, high = boot.interval((sums / counts)[:, 0, 0])
            covered[name] += low <= 0.6 <= high
    assert covered["groups"] >= 88
    assert covered["photos"] < 65


def test_photos_without_a_group_are_alone():
    names = np.array(["b", "", "a", "", "b", "", "a"])
    group = bootstrap.of_groups(names).group
    assert sorted(set(group)) == [0, 1, 2, 3, 4]
    assert group[0] == group[4] and group[2] == group[6]
    assert len(set(group[[1, 3, 5]])) == 3


def test_photos_of_a_group_that_are_right_together_widen_the_interval():
    hits = (np.arange(1000) < 300).astype(float)[:, None]
    everyone = np.zeros(1000, int)
    widths = []
    for boot in (
        bootstrap.of_photos(1000),
        bootstrap.of_groups(np.arange(1000) // 10),
    ):
        sums, counts = boot.sums(hits, everyone, 1)
        widths.append(np.diff(boot.interval(sums / counts)[:, 0, 0])[0])
    assert widths[1] == pytest.approx(np.sqrt(10) * widths[0], rel=0.15)


def test_a_larger_confidence_is_a_wider_interval():
    samples = np.arange(1001.0)
    boot = bootstrap.of_photos(5)
    assert boot.interval(samples) == pytest.approx([25, 975])
    boot = bootstrap.Bootstrap(np.arange(5), confidence=0.5)
    assert boot.interval(samples) == pytest.approx([250, 750])


@pytest.mark.parametrize(
    ("wins", "losses", "low", "high"),
    [(40, 10, 0, 0.002), (10, 40, 0, 0.002), (27, 23, 0.5, 0.85), (9, 9, 1, 1)],
)
def test_the_p_value_is_about_that_of_the_sign_test(wins, losses, low, high):
    differences = np.repeat([1.0, -1.0, 0.0], [wins, losses, 200])
    boot = bootstrap.of_photos(len(differences), resamples=2000)
    assert low <= boot.p_value(differences) <= high


def test_a_group_that_wins_at_once_is_one_win():
    differences = np.repeat([1.0, 0.0], [40, 40])
    alone = bootstrap.of_photos(80)
    together = bootstrap.of_groups(np.arange(80) // 20)
    assert alone.p_value(differences) < 0.01
    assert together.p_value(differences) > 0.3
