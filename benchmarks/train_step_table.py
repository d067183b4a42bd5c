"""What benchmarks.train_step prints, from what it measured."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import measure, rounds

NAMES = {
    "loop": "planet_tf.train",
    "bare": "bare step, constant data",
    "stock": "bare step of Keras' own layers",
    "fit": "keras.Model.fit",
    "torch": "PyTorch",
}
_HEADER = (
    *("case", "precision", "images/s, best", "images/s, median"),
    *("CPU ms/image, least", "GFLOP/s, best", "of the peak"),
)
# Least ratio of planet_tf.train to each, by the medians of the rounds.
_GOALS = {"bare": 0.95, "fit": 1.5, "torch": 1.0}
_FORWARD_AND_BACK = 3  # passes of about the same arithmetic in a step

Rates = Mapping[str, Sequence[float]]


def lines(
    results: Mapping[str, Sequence[rounds.Result]],
    *,
    images: int,
    gflop: float,
    bfloat16: bool,
) -> list[str]:
    """The table, and what follows from it.

    Args:
      results: of each round, by "case precision".
      images: in the steps of a turn.
      gflop: arithmetic of the forward pass for one image.
      bfloat16: whether it is what planet_tf.train and the CPU compute in.
    """
    rates = {
        work: [images / x["seconds"] for x in found]
        for work, found in results.items()
        if "seconds" in found[0]
    }
    peaks = {
        work.partition(" ")[2]: max(x["gflops"] for x in found)
        for work, found in results.items()
        if "gflops" in found[0]
    }
    # On a shared machine these tell more; idle threads of PyTorch count too.
    cpu = {
        work: 1e3 * min(x["cpu_seconds"] for x in results[work]) / images
        for work in rates
    }
    gflop *= _FORWARD_AND_BACK
    rows = list(_rows(rates, cpu, peaks, gflop))
    return [
        measure.markdown_table(_HEADER, rows),
        "",
        *_goals(rates, bfloat16),
        *_parts(results, rates),
        f"- {gflop:.1f} GFLOP an image: {_FORWARD_AND_BACK} times those of the"
        " forward pass",
    ]


def _rows(
    rates: Rates,
    cpu: Mapping[str, float],
    peaks: Mapping[str, float],
    gflop: float,
) -> Iterator[list]:
    for work, found in rates.items():
        case, _, precision = work.partition(" ")
        if case == "input":
            name, speed, share = "input alone", "", ""
        else:
            name, speed = NAMES[case], max(found) * gflop
            share = f"{speed / peaks[precision]:.0%}"
        median = statistics.median(found)
        times = max(found), median, cpu[work]
        yield [name, precision, *times, speed, share]
    for precision, peak in peaks.items():
        name = "product of 4,096 x 4,096 matrices"
        yield [name, precision, "", "", "", peak, ""]


def _goals(rates: Rates, bfloat16: bool) -> Iterator[str]:
    """How the loop compares with each other case."""
    for case, goal in _GOALS.items():
        loop = _fastest(rates, "loop")
        other = _fastest(rates, case)
        if not (loop and other):
            continue
        pairs = zip(rates[loop], rates[other], strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        best = max(rates[loop]) / max(rates[other])
        met = "met" if ratio >= goal else "NOT MET"
        if case == "fit" and not bfloat16:
            met = "for bfloat16, where the CPU has it"
        yield (
            f"- planet_tf.train is at {ratio:.2f} of {NAMES[case]} in"
            f" {other.partition(' ')[2]} (median of the rounds' ratios; of the"
            f" best {best:.2f}); goal {goal}: {met}"
        )


def _parts(
    results: Mapping[str, Sequence[rounds.Result]], rates: Rates
) -> Iterator[str]:
    """What of the loop's time is input, step and log."""
    loop, bare = _fastest(rates, "loop"), _fastest(rates, "bare")
    if not loop:
        return
    rate = statistics.median(rates[loop])
    seconds = sum(x["seconds"] for x in results[loop])
    logged = sum(x["log"] for x in results[loop]) / seconds
    read = rate / statistics.median(rates["input"])
    yield (
        f"- of planet_tf.train's time, reading, decoding and cropping would be"
        f" {read:.1%} if nothing else ran (it runs beside the step); the log,"
        f" here of every other step, is {logged:.1%}"
    )
    if bare:
        step = rate / statistics.median(rates[bare])
        yield f"- of its time, the step alone would be {step:.1%}"


def _fastest(rates: Rates, case: str) -> str:
    """The faster of a case's precisions; "" if it was not measured."""
    found = [work for work in rates if work.partition(" ")[0] == case]
    return max(found, key=lambda w: statistics.median(rates[w]), default="")
