import sys

import pytest

from benchmarks import rounds, train_step, train_step_table

_PROGRAM = """
import sys
from benchmarks import rounds

made = []

def make(name):
    print("not an answer")
    made.append(name)
    return {"made": made}

rounds.serve({n: lambda n=n: make(n) for n in sys.argv[1:]}, ready=True)
"""


def test_programs_work_in_turns_and_keep_their_state():
    command = [sys.executable, "-c", _PROGRAM]
    one = rounds.Program([*command, "a", "b"], {})
    other = rounds.Program([*command, "c"], {})
    try:
        assert one.facts == other.facts == {"ready": True}
        works = {"first": (one, "b"), "second": (other, "c"), "3": (one, "a")}
        found = rounds.run(works, rounds=2)
    finally:
        one.close()
        other.close()
    assert found["first"] == [{"made": ["b"]}, {"made": ["b", "a", "b"]}]
    assert found["second"] == [{"made": ["c"]}, {"made": ["c", "c"]}]
    assert found["3"][1] == {"made": ["b", "a", "b", "a"]}


@pytest.mark.parametrize(
    "code", ["1 / 0", "from benchmarks import rounds; rounds.serve({})"]
)
def test_a_program_that_fails_says_why(code):
    with pytest.raises(rounds.RoundsError, match=r"ended with 1(.|\n)*Error"):
        program = rounds.Program([sys.executable, "-c", code], {})
        program.work("anything")


def seconds(*values):
    return [
        {"seconds": value, "cpu_seconds": 2 * value, "log": 0.01}
        for value in values
    ]


RESULTS = {
    "loop bfloat16": seconds(2.0, 8.0, 2.0),
    "bare bfloat16": seconds(1.0, 8.0, 2.0),
    "fit float32": seconds(4.0, 8.0, 3.0),
    "torch float32": seconds(9.0, 30.0, 8.0),
    "torch bfloat16": seconds(2.0, 10.0, 1.6),
    "machine float32": [{"gflops": 50.0}, {"gflops": 200.0}],
    "machine bfloat16": [{"gflops": 400.0}, {"gflops": 300.0}],
    "input": seconds(0.04, 0.4, 0.04),
}


def told(**changes):
    return train_step_table.lines(
        RESULTS | changes, images=40, gflop=2.0, bfloat16=True
    )


def test_the_table_has_best_median_and_share_of_the_peak():
    lines = told()
    # 40 images in 2, 8, 2 s; 3 * 2 GFLOP each.
    row = "| planet_tf.train | bfloat16 | 20.0 | 20.0 | 100 | 120 | 30% |"
    assert row.replace(".0", "") in lines[0]
    assert (
        "| keras.Model.fit | float32 | 13.3 | 10 | 150 | 80 | 40% |" in lines[0]
    )
    assert "matrices | bfloat16 |  |  |  | 400 |" in lines[0]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "at 1.00 of bare step, constant data in bfloat16"),
        ({}, "the best 0.50); goal 0.95: met"),
        ({}, "at 1.50 of keras.Model.fit in float32"),
        ({}, "at 1.00 of PyTorch in bfloat16"),
        ({"bare bfloat16": seconds(1, 4, 2)}, "goal 0.95: NOT MET"),
        ({"fit float32": seconds(2, 8, 2)}, "goal 1.5: NOT MET"),
        ({}, "cropping would be 2.0% if"),
        ({}, "every other step, is 0.2%"),
    ],
)
def test_ratios_are_medians_of_what_each_round_gave(changes, wanted):
    assert wanted in "\n".join(told(**changes))


def test_what_was_not_measured_is_not_told():
    lines = "\n".join(
        train_step_table.lines(
            {k: v for k, v in RESULTS.items() if k.split()[0] != "loop"},
            images=40,
            gflop=2.0,
            bfloat16=True,
        )
    )
    assert "| PyTorch |" in lines
    assert "goal" not in lines and "cropping" not in lines


def test_arithmetic_is_counted_from_the_layers():
    import keras

    from benchmarks import train_step_cases

    trunk = keras.Sequential(
        [
            keras.Input((9, 7, 3)),
            keras.layers.Conv2D(4, (3, 2), strides=2, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model = keras.Sequential([trunk, keras.layers.Dense(5)])
    flop = 2 * (4 * 3) * (3 * 2 * 3 * 4) + 2 * 4 * 5
    assert train_step_cases.forward_gflop(model) == pytest.approx(flop / 1e9)


def test_its_shards_can_be_read(tmp_path):
    from planet_tf.data import data_dirs

    config = train_step.Config(classes=30, photos=40, work=str(tmp_path))
    train_step.write_shards(config, tmp_path / "shards")
    shards = data_dirs.open_shards(str(tmp_path / "shards"))
    assert shards.partition.num_classes == 30
    assert shards.count("train") == 40 and shards.count("validation") == 16


def test_an_odd_number_of_steps_and_unknown_cases_are_refused():
    with pytest.raises(ValueError, match="--steps is odd: 5"):
        train_step.Config(steps=5)
    with pytest.raises(ValueError, match="no case jax; there are loop, bare"):
        train_step.Config(cases=("loop", "jax"))
