import dataclasses
import importlib.metadata
import json
import pathlib

import pytest
from conftest import write_small_shards

import planet_tf
from planet_tf import config_flags
from planet_tf.data import data_dirs
from planet_tf.model import model_dir
from planet_tf.options.train_config import TrainConfig


@pytest.fixture(scope="module")
def shards(small_shards):
    return data_dirs.open_shards(str(small_shards))


def options(directory, **given):
    return TrainConfig(shards="here", model_dir=str(directory), **given)


def claim(directory, shards, **given):
    model_dir.claim(options(directory, **given), shards, write=True)


def test_a_claimed_directory_says_all_of_its_run(tmp_path, shards):
    claim(tmp_path / "a" / "b", shards, seed=3)
    found = model_dir.read_config(str(tmp_path / "a" / "b"))
    wanted = dataclasses.asdict(options(tmp_path / "a" / "b", seed=3))
    assert found["options"] == wanted | {"coarse_cells": []}
    assert found["partition_fingerprint"] == shards.partition.fingerprint
    assert found["shards_fingerprint"] == shards.fingerprint
    assert found["versions"]["planet_tf"] == planet_tf.__version__
    for name in ("tensorflow", "keras", "numpy"):
        assert found["versions"][name] == importlib.metadata.version(name)
    partition = model_dir.read_partition(str(tmp_path / "a" / "b"))
    assert partition.fingerprint == shards.partition.fingerprint
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [
        "config.json",
        "partition.json",
    ]


def test_only_the_one_that_writes_makes_it(tmp_path, shards):
    model_dir.claim(options(tmp_path / "m"), shards, write=False)
    assert not (tmp_path / "m").exists()


# For each option another value, than the default, that is right too.
OTHERS = {
    "shards": "there",
    "strategy": "mirrored",
    "tpu": "local",
    "startup_timeout": 5.0,
    "cache_dir": "/dev/shm",
    "steps_per_loop": 7,
    "validate_every": 7,
    "validation_photos": 7,
    "checkpoint_every": 7,
    "keep_checkpoints": 7,
    "log_every": 7,
    "example_photos": 7,
    "profile_step": 7,
    "dry_run": True,
}


@pytest.mark.parametrize(("name", "value"), OTHERS.items())
def test_options_that_do_not_shape_the_result_may_change(
    tmp_path, shards, name, value
):
    assert value != getattr(options("m"), name, "here")
    claim(tmp_path, shards)
    model_dir.claim(
        dataclasses.replace(options(tmp_path), **{name: value}),
        shards,
        write=True,
    )


# The same for all others.
SHAPING = {
    "image_size": 80,
    "width": 0.5,
    "batch_norm_momentum": 0.9,
    "synchronized_batch_norm": True,
    "standardize": True,
    "precision": "bfloat16",
    "dropout": 0.5,
    "coarse_cells": (64, 16),
    "init_from": "elsewhere",
    "batch_size": 64,
    "learning_rate": 1.0,
    "warmup_steps": 7,
    "schedule": "linear",
    "clip_norm": 1.0,
    "soft_labels_km": 1.0,
    "min_crop_area": 0.7,
    "rotate": True,
    "color_jitter": 0.5,
    "seed": 7,
    "lanes": 4,
    "shuffle_buffer": 7,
}


@pytest.mark.parametrize(("name", "value"), SHAPING.items())
def test_options_that_shape_the_result_may_not(tmp_path, shards, name, value):
    claim(tmp_path, shards)
    before = getattr(options(tmp_path), name)
    with pytest.raises(model_dir.ModelDirError) as caught:
        claim(tmp_path, shards, **{name: value})
    old, new = map(config_flags.text, (before, value))
    assert f"with --{name}={old}, this run has {new}" in str(caught.value)
    for _ in range(2):
        claim(tmp_path / "with it", shards, **{name: value})


def test_every_option_is_one_or_the_other():
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    assert sorted(names) == sorted([*OTHERS, *SHAPING, "model_dir", "steps"])


def test_steps_may_be_raised_if_the_rate_does_not_depend_on_them(
    tmp_path, shards
):
    claim(tmp_path, shards, steps=100)
    claim(tmp_path, shards, steps=150)
    assert model_dir.read_config(str(tmp_path))["options"]["steps"] == 150
    with pytest.raises(model_dir.ModelDirError, match="--steps=150, .* 100"):
        claim(tmp_path, shards, steps=100)
    claim(tmp_path / "linear", shards, steps=100, schedule="linear")
    with pytest.raises(model_dir.ModelDirError, match="--steps=100"):
        claim(tmp_path / "linear", shards, steps=150, schedule="linear")


def test_other_shards_and_partitions_are_refused(tmp_path, shards):
    claim(tmp_path / "m", shards)
    write_small_shards(tmp_path / "files", photos=400, files=2)
    write_small_shards(
        tmp_path / "places",
        photos=400,
        files=3,
        places=[(10, 10), (-10, -60)],
    )
    files, places = (
        data_dirs.open_shards(str(tmp_path / name))
        for name in ("files", "places")
    )
    with pytest.raises(model_dir.ModelDirError) as caught:
        claim(tmp_path / "m", files)
    assert shards.fingerprint in str(caught.value)
    assert files.fingerprint in str(caught.value)
    with pytest.raises(model_dir.ModelDirError) as caught:
        claim(tmp_path / "m", places)
    assert shards.partition.fingerprint in str(caught.value)
    assert places.partition.fingerprint in str(caught.value)


@pytest.mark.parametrize("place", ["a file", "in a file", "nowhere to write"])
def test_a_directory_that_cannot_be_written_to_is_told(tmp_path, shards, place):
    (tmp_path / "file").write_text("")
    directory = {
        "a file": tmp_path / "file",
        "in a file": tmp_path / "file" / "m",
        "nowhere to write": pathlib.Path("/proc/planet"),  # not for root either
    }[place]
    with pytest.raises(model_dir.ModelDirError) as caught:
        claim(directory, shards)
    assert f"--model_dir={directory} cannot be used" in str(caught.value)


def test_a_broken_config_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"options": ')
    with pytest.raises(model_dir.ModelDirError, match="is damaged"):
        model_dir.read_config(str(tmp_path))


def test_workers_compare_all_that_must_be_the_same(shards):
    facts = model_dir.facts(options("m", seed=3), shards)
    assert facts["--seed"] == "3"
    assert facts["shards"] == shards.fingerprint
    assert facts["partition"] == shards.partition.fingerprint
    assert facts["tensorflow"] == importlib.metadata.version("tensorflow")
    assert facts["code"].startswith(f"planet_tf {planet_tf.__version__} sha25")
    # They must come to validations and checkpoints at the same steps.
    assert {"--validate_every", "--steps_per_loop", "--dry_run"} <= set(facts)
    # Paths may differ from machine to machine.
    assert not {"--shards", "--model_dir", "--cache_dir"} & set(facts)
    assert json.dumps(facts)


def test_another_source_is_another_code(tmp_path, monkeypatch):
    digests = []
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(planet_tf, "__file__", str(tmp_path / "__init__.py"))
    for text in ("one", "two", "two"):
        (tmp_path / "package" / "module.py").write_text(text)
        digests.append(model_dir._code_digest())
    assert digests[0] != digests[1] == digests[2]
