"""Evaluations of answers that are drawn at random."""

import numpy as np

from planet_tf.reports import bootstrap, report, scores

RNG = np.random.default_rng(3)


def make_evaluated(photos=40, answers=3):
    """Answers around random truths, the last photo without any."""
    truth = np.stack(
        [RNG.uniform(-80, 80, photos), RNG.uniform(-180, 180, photos)], 1
    )
    shift = RNG.normal(0, 10, (photos, answers, 2)) * [0.5, 1]
    points = truth[:, None] + shift
    points[..., 1] = (points[..., 1] + 180) % 360 - 180
    points[-1] = np.nan
    shares = np.sort(RNG.dirichlet(np.ones(answers), photos))[:, ::-1]
    extra = {"inside": np.where(RNG.random(photos) < 0.3, np.nan, 1.0)}
    rank = RNG.integers(0, 4, photos)
    system = scores.Answers(points, shares, rank, extra)
    whereabouts = {
        name: scores.Whereabouts(*RNG.integers(-1, 3, (2, photos)))
        for name in (report.TRUTH, "ours")
    }
    return report.Evaluated(
        truth,
        {"ours": system},
        bootstrap.of_groups(RNG.integers(0, 9, photos), resamples=100),
        whereabouts=whereabouts,
    )


def make_two_systems():
    """A system, a worse one, and a ceiling; with parts."""
    base = make_evaluated(photos=300)
    ours = base.systems["ours"]
    worse = scores.Answers(np.roll(ours.points, 1, axis=0))
    own = np.repeat(base.truth[:, None] + 0.5, 1, axis=1)
    return report.Evaluated(
        base.truth,
        {"ours": ours, "worse": worse},
        base.bootstrap,
        ceiling=scores.Answers(own),
        whereabouts=base.whereabouts,
        groupings=[scores.Grouping("half", ("a", "b"), np.arange(300) // 150)],
        ways=["worse", "ours"],
    )
