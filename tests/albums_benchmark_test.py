import dataclasses

import pytest

from benchmarks import albums, albums_table

SMALL = {
    "photo_size": "96x80",
    "photos": 4,
    "photo_batch": 2,
    "image_size": 75,
    "width": 0.1,
    "precisions": "float32",
    "albums": 24,
    "features": 8,
    "units": "4",
    "batch_size": 4,
    "steps": 2,
    "classes": 20,
    "rounds": 2,
}


def seconds(*values):
    return [{"seconds": value, "cpu_seconds": 2 * value} for value in values]


def told(**changes):
    results = {
        "train_albums, 8 units": seconds(2.0, 8.0, 4.0),
        "step of Keras' LSTM, 8 units": seconds(1.0, 9.0, 4.0),
        "Keras' LSTM alone, 8 units": seconds(1.0, 4.0, 2.0),
    }
    return list(albums_table.lines("training", results | changes, amount=4))


def test_the_table_has_a_row_for_each_case():
    table = told()[0]
    assert "| train_albums | 8 units | 2 | 1 | 1,000 |" in table
    assert "| Keras' LSTM alone | 8 units | 4 | 2 | 500 |" in table


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "at 1.00 of step of Keras' LSTM (median of the rounds' ratios;"),
        ({}, "by the least CPU time 0.50); goal 0.9: met"),
        (
            {"step of Keras' LSTM, 8 units": seconds(1.0, 7.0, 3.5)},
            "at 0.88 of step of Keras' LSTM (median of the rounds' ratios; by"
            " the least CPU time 0.50); goal 0.9: NOT MET",
        ),
        ({}, "at 0.50 of Keras' LSTM alone (median of the rounds' ratios;"),
    ],
)
def test_ratios_are_medians_of_what_each_round_gave(changes, wanted):
    assert wanted in "\n".join(told(**changes))


@pytest.fixture
def small(tmp_path):
    config = albums.Config(
        **SMALL
        | {"work": str(tmp_path), "units": (4,), "precisions": ("float32",)}
    )
    albums.write_albums(config, tmp_path / "albums")
    return config


def test_its_albums_can_be_read(small):
    from planet_tf.data import data_dirs

    data = data_dirs.open_albums(f"{small.work}/albums")
    assert data.count("train") == 24 and data.features == 8


@pytest.mark.slow
def test_constant_data_is_as_long_as_the_batches_of_each_turn(small):
    import tensorflow as tf

    from benchmarks import albums_cases
    from planet_tf.data import album_input, data_dirs

    train = albums.train_config(small)
    data = data_dirs.open_albums(train.albums)
    lengths, photos = albums_cases.batch_lengths(small, train, data)
    batches = album_input.training_batches(
        data, train, first_step=0, context=tf.distribute.InputContext()
    )
    # Two steps to get ready, then two turns of two warm and two timed ones.
    steps = [batch["photos"].numpy() for batch in batches.take(10)][2:]
    assert lengths == [counts.max() for counts in steps]
    assert photos == [counts.sum() for counts in steps]
    seen = []
    turn = albums_cases.turns(
        dataclasses.replace(small, steps=6),
        [(tf.constant(n), None) for n in lengths],
        lambda length, _: seen.append(int(length)) or length,
    )
    turn()
    assert seen == lengths


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="--steps is odd: 5"):
        albums.Config(steps=5)
    with pytest.raises(ValueError, match="--photos is 5, no multiple"):
        albums.Config(photos=5, photo_batch=2)
    with pytest.raises(ValueError, match="there is no cats; there are embed"):
        albums.Config(what=("cats",))


@pytest.mark.slow
def test_it_measures_all(capsys):
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    assert albums.main(["albums", *options]) == 0
    told = capsys.readouterr().out
    assert told.count("| float32 |") == 4 and told.count("| 4 units |") == 3
    assert "write_albums is at" in told and "train_albums is at" in told
    assert "4 albums a step" in told
