"""What benchmarks.albums prints, from what it measured."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import measure, rounds

UNITS = {"embedding": "photo", "training": "step"}
# The case whose process does a work.
CASES = {
    "write_albums": "write",
    "its embedding alone, of JPEGs in memory": "write",
    "its reading and fitting alone": "write",
    "bare forward pass": "forward",
    "train_albums": "loop",
    "step of Keras' LSTM": "keras",
    "Keras' LSTM alone": "keras",
}
_OURS = {"embedding": "write_albums", "training": "train_albums"}
# Least ratio to each, by the medians of the rounds; None where there is none.
_GOALS = {
    "bare forward pass": 0.9,
    "step of Keras' LSTM": 0.9,
    "Keras' LSTM alone": None,
}


def lines(
    what: str, results: Mapping[str, Sequence[rounds.Result]], amount: int
) -> Iterator[str]:
    """A table, and what follows from it.

    Args:
      what: "embedding" or "training".
      results: of each round, by "work, setting".
      amount: photos or steps of a turn.
    """
    unit = UNITS[what]
    header = (
        *(what, "with", f"{unit}s/s, best", f"{unit}s/s, median"),
        f"CPU ms/{unit}, least",
    )
    rows = []
    for name, found in results.items():
        rates = [amount / x["seconds"] for x in found]
        cpu = 1e3 * min(x["cpu_seconds"] for x in found) / amount
        work, _, setting = name.rpartition(", ")
        rows.append([work, setting, max(rates), statistics.median(rates), cpu])
    yield measure.markdown_table(header, rows)
    yield ""
    for name in results:
        work, _, setting = name.rpartition(", ")
        if work in _GOALS:
            yield _verdict(results, _OURS[what], work, setting)


def _verdict(
    results: Mapping[str, Sequence[rounds.Result]],
    ours: str,
    other: str,
    setting: str,
) -> str:
    """How we compare with another one."""
    mine, theirs = (results[f"{x}, {setting}"] for x in (ours, other))
    pairs = zip(mine, theirs, strict=True)
    ratio = statistics.median(y["seconds"] / x["seconds"] for x, y in pairs)
    # On a shared machine the least CPU time is told best.
    cpu = [min(x["cpu_seconds"] for x in found) for found in (theirs, mine)]
    text = (
        f"- {setting}: {ours} is at {ratio:.2f} of {other} (median of the"
        f" rounds' ratios; by the least CPU time {cpu[0] / cpu[1]:.2f})"
    )
    goal = _GOALS[other]
    if goal is None:
        return text
    return f"{text}; goal {goal}: {'met' if ratio >= goal else 'NOT MET'}"
