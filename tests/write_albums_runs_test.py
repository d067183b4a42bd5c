import json
import subprocess
import sys

import engines
import numpy as np
import pytest
import written

from beam_pipelines import embedding
from planet_tf.photos import images


@pytest.fixture
def world(tmp_path, embedder):
    return written.AlbumsWorld(tmp_path, embedder)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (None, "does not say how its photos were split"),
        (
            {"seed": 0, "fractions": {"validation": 0.1, "test": 0.1}},
            "--albums_fraction",
        ),
        (
            {"seed": 0, "fractions": {"validation": 0.5, "albums": 1e-9}},
            "--albums_fraction",
        ),
    ],
)
def test_without_albums_to_train_on_it_says_what_to_do(
    world, rule, why, capsys
):
    world.describe(rule)
    assert world.write() == 1
    error = capsys.readouterr().err
    assert why in error and "--seen_photos=none" in error
    assert not (world.path / "albums/albums.json").exists()


def test_the_bytes_are_those_of_the_run_before_and_of_shuffled_rows(world):
    rows = [*world.rows, ["x", "img/none.jpg", 40.7, -74, "", "", ""]]
    # A copy in an album of its own owner, beside what it is a copy of.
    rows.append(["copy", *rows[5][1:]])
    assert world.write("--seen_photos=use", rows=rows) == 0
    assert {r[2] for r in world.rejects()} == {
        "missing_file",
        "duplicate_content",
    }
    assert world.write("--seen_photos=use", rows=rows, out="again") == 0
    assert world.files("again") == world.files()
    shuffled = rows[::-2] + rows[-2::-2]
    options = ["--seen_photos=use", "--threads=1"]
    assert world.write(*options, rows=shuffled, out="s", name="o.csv") == 0
    made = world.files("s")
    differing = {n for n, data in world.files().items() if made[n] != data}
    assert differing == {"albums.json"}  # it names the manifest
    assert world.info("s")["fingerprint"] == world.info()["fingerprint"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["threads", "processes", "BundleBased"])
def test_the_bytes_are_the_same_from_any_runner_and_workers(world, engine):
    assert world.write() == 0
    assert world.write(*engines.LOCAL[engine], out="other") == 0
    assert world.files("other") == world.files()


def test_finished_albums_are_known_and_replaced_on_demand_only(
    world, embedder, tmp_path, capsys
):
    assert world.write() == 0
    before = world.files()
    assert world.write("--threads=2") == 0
    assert "nothing was done" in capsys.readouterr().out
    for option, what in [
        ("--max_photos=9", "max_photos"),
        ("--batch_size=4", "batch_size"),
        ("--gap_hours=2", "gap_hours"),
    ]:
        assert world.write(option) == 1
        error = capsys.readouterr().err
        assert what in error and "--overwrite" in error
    written.save_model(tmp_path / "other", weights="sha256:2", gain=2.0)
    (world.model / "export").unlink()
    (world.model / "export").symlink_to(tmp_path / "other")
    assert world.write() == 1
    assert "made from other model" in capsys.readouterr().err
    assert world.files() == before
    assert world.write("--overwrite") == 0
    assert world.info()["model_fingerprint"] == "sha256:2"
    assert (
        world.info()["fingerprint"]
        != json.loads(before["albums.json"])["fingerprint"]
    )


def test_a_directory_of_shards_is_left_alone(world, capsys):
    (world.path / "albums").mkdir()
    (world.path / "albums/shards.json").write_text("{}")
    assert world.write() == 1
    assert "no directory of albums" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trained_models_embeddings_are_those_of_its_export(
    world, small_model
):
    from planet_tf.model import export

    rows = world.album_rows(10)
    flags = [*written.NONE_SEEN, f"--model_dir={small_model}"]
    assert world.write(*flags, rows=rows) == 0
    locator = export.Geolocator(str(small_model))
    [album] = world.albums()["train"]
    size = locator.config["photo_size"]
    jpegs = [
        images.fit((world.path / row[1]).read_bytes(), size) for row in rows
    ]
    wanted = locator.module.embed(jpegs)["embedding"].numpy()
    np.testing.assert_allclose(
        album["photos/embedding"], wanted, rtol=1e-4, atol=1e-5
    )
    assert world.info()["features"] == wanted.shape[1]
    weights = locator.module.weights.numpy().decode()
    assert world.info()["model_fingerprint"] == weights
    assert weights.startswith("sha256:")
    shares = locator.module.classify(album["photos/embedding"])
    np.testing.assert_allclose(
        shares["probabilities"], locator.probabilities(jpegs), atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["one thread", "processes"])
def test_a_trained_models_albums_are_the_same_bytes_again(
    world, small_model, engine
):
    flags = [*written.NONE_SEEN, f"--model_dir={small_model}"]
    assert world.write(*flags) == 0
    flags += engines.LOCAL[engine]
    assert world.write(*flags, rows=world.rows[::-1], out="again") == 0
    made, again = world.files(), world.files("again")
    names = [name for name in made if ".tfrecord-" in name]
    assert len(names) == 2
    assert all(made[name] == again[name] for name in names)


def test_a_model_that_cannot_be_used_is_refused(world, tmp_path, capsys):
    (world.model / "export").unlink()
    assert world.write() == 1
    assert "training has not ended" in capsys.readouterr().err
    (world.model / "export").mkdir()
    assert world.write() == 1
    assert "does not say what weights" in capsys.readouterr().err
    assert world.write(f"--model_dir={tmp_path}/none") == 1
    assert "not a model directory" in capsys.readouterr().err


def test_a_worker_refuses_a_model_that_was_changed(embedder):
    file = embedding.ModelFile(
        str(embedder), "sha256:old", written.PHOTO_SIZE, 8
    )
    with pytest.raises(embedding.ModelError, match="changed meanwhile"):
        file.load()


@pytest.mark.parametrize(
    "option",
    [
        "--validation_fraction=0.9",
        "--max_photos=0",
        "--min_photos=101",
        "--gap_hours=-1",
        "--seen_photos=all",
        "--albums=3",
    ],
)
def test_a_wrong_option_ends_with_exit_2(world, option):
    with pytest.raises(SystemExit) as end:
        world.write(option, "--test_fraction=0.2")
    assert end.value.code == 2


def test_help_is_given_without_tensorflow():
    code = (
        "import sys\nfrom beam_pipelines import write_albums\n"
        "try: write_albums.main(['write_albums', '--help'])\n"
        "finally: assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0 and "--gap_hours" in done.stdout


@pytest.mark.slow
def test_a_dry_run_changes_nothing(world, capsys):
    pytest.importorskip("apitools")  # of apache-beam[gcp]
    with pytest.raises(SystemExit) as end:
        world.write(*written.DATAFLOW_DRY_RUN)
    assert end.value.code == 0 and "dry run" in capsys.readouterr().out
    assert not (world.path / "albums").exists()
