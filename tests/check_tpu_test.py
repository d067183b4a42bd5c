import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from planet_tf import check_tpu
from planet_tf.options import train_config
from planet_tf.sizing import tpu_compile

ROOT = pathlib.Path(__file__).parents[1]
GB = 10**9
STEP = check_tpu.Step(
    stablehlo="  func.func @main(%arg0: tensor<250000000xf32>) {",
    parameters=1_000,
    gradient_bytes=4_000,
)


def figures(**values):
    known = {
        "cores": 4,
        "cores_per_chip": 1,
        "device": "TPU v5 lite",
        "versions": {"jax": "1", "libtpu": "2"},
        "compile_seconds": 3.0,
        "flops": 197e12,
        "bytes_accessed": 819e8,
        "arguments": 1 * GB,
        "temporaries": 8 * GB,
        "output": 0,
        "code": 1 * GB,
        "needed": 10 * GB,
    }
    return tpu_compile.Figures(**known | values)


def report(found, **options):
    chosen = check_tpu.CheckTpuConfig(**options)
    return check_tpu.make_report(chosen, STEP, found)


def test_options_shared_with_training_have_the_same_names_and_bounds():
    training = {f.name: f for f in dataclasses.fields(train_config.TrainConfig)}
    own = {"topology", "classes", "epoch_photos", "json"}
    for field in dataclasses.fields(check_tpu.CheckTpuConfig):
        if field.name in own:
            continue
        assert field.type == training[field.name].type
    assert {"batch_size", "precision", "width"} <= training.keys()


def test_a_step_of_one_second_of_arithmetic_takes_that_and_the_sum():
    found = report(figures(), batch_size=4_000)["estimate"]
    assert found["compute_seconds"] == pytest.approx(1.0)
    assert found["memory_seconds"] == pytest.approx(0.1)
    assert found["all_reduce_seconds"] == pytest.approx(1.5 * 4_000 / 50e9)
    assert found["photos_per_second"] == pytest.approx(4_000, rel=1e-6)
    assert found["hours_per_epoch"] == pytest.approx(91e6 / 4e3 / 3600)


def test_a_step_that_moves_more_than_it_computes_is_bound_by_memory():
    found = report(figures(bytes_accessed=2 * 819e9), batch_size=4_000)
    assert found["estimate"]["step_seconds"] == pytest.approx(2.0)
    assert "(memory) + all-reduce" in check_tpu.text(found)


def test_cores_that_share_a_chip_share_its_peaks():
    found = report(
        figures(cores=8, cores_per_chip=2, flops=275e12 / 2),
        topology="v4:2x2x1",
    )
    assert found["memory"]["chip"] == 16 * GB
    assert found["estimate"]["compute_seconds"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("needed", "fits"),
    [(10 * GB, True), (16 * GB, True), (16 * GB + 1, False)],
)
def test_the_verdict_follows_the_chips_memory(needed, fits):
    found = report(figures(needed=needed))
    assert found["memory"]["fits"] is fits
    assert ("DOES NOT FIT" in check_tpu.text(found)) is not fits
    assert ("estimate" in found) is fits


def test_what_does_not_fit_names_a_batch_that_should():
    # 2 GB stay, 32 GB grow with 128 photos: 14 GB are room for 56.
    found = report(figures(needed=34 * GB, temporaries=32 * GB))
    assert found["smaller"] == 4 * 56
    assert "--batch_size=224 should fit" in check_tpu.text(found)


def test_what_the_compiler_refused_names_a_batch_too():
    sizes = dict.fromkeys(
        ("flops", "bytes_accessed", "arguments", "temporaries", "code"), 0
    )
    refused = figures(needed=31 * GB, too_large="RESOURCE_EXHAUSTED", **sizes)
    found = report(refused)
    assert not found["memory"]["fits"]
    assert found["smaller"] == 4 * 64  # 30 GB for 128: 15 GB for 64


def test_variables_too_large_for_the_chip_name_no_batch():
    found = report(figures(arguments=20 * GB, needed=30 * GB))
    assert found["smaller"] == 0
    assert "smaller --width" in check_tpu.text(found)


def test_the_report_says_that_nothing_ran():
    shown = check_tpu.text(report(figures()))
    assert "NOTHING RAN ON A TPU" in shown
    assert "ESTIMATE" in shown


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--topology=v9:2x2"], "unknown topology 'v9:2x2'"),
        (["--batch_size=30"], "v5e:2x2 has 4 cores"),
        (["--precision=float64"], "must be one of float32, bfloat16"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_built(
    capsys, flags, message
):
    with pytest.raises(SystemExit) as ended:
        check_tpu.main(["check_tpu", *flags])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_without_the_compiler_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setattr(tpu_compile, "PACKAGES", ("jax", "no_such_libtpu"))
    assert check_tpu.main(["check_tpu"]) == 1
    shown = capsys.readouterr().err
    assert "no_such_libtpu" in shown
    assert "pip install 'planet-tf[tpu-check]'" in shown


def convolution_flops(model, photos):
    """Multiplications and additions of the forward pass, from shapes alone."""
    import keras

    found = 0
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            places = layer.output.shape[1:-1]
            weights = layer.kernel.shape.num_elements()
            for side in places:
                weights *= side
            found += 2 * weights * photos
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    bool(tpu_compile.missing_packages()),
    reason="needs jax and libtpu: pip install 'planet-tf[tpu-check]'",
)
def test_a_small_model_compiles_from_the_command_line():
    from planet_tf.model import models

    environment = os.environ | {
        "PLANET_VENV": str(pathlib.Path(sys.executable).parents[1]),
    }
    flags = "--width=0.1 --image_size=75 --classes=10 --batch_size=32 --json"
    child = subprocess.run(
        [ROOT / "launch" / "check_tpu.sh", *flags.split()],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    model = models.photo_classifier(10, image_size=75, width=0.1)
    assert found["parameters"] == model.count_params()
    assert found["photos_per_core"] == 8
    # Arguments: variables and their accumulators, the batch, and scalars.
    trainable = sum(
        v.value.shape.num_elements() for v in model.trainable_weights
    )
    batch = 8 * (75 * 75 * 3 * 4 + 8)
    variables = 4 * (found["parameters"] + trainable)
    memory = found["memory"]
    assert 0 <= memory["arguments_unpadded"] - variables - batch < 100
    assert memory["arguments"] >= memory["arguments_unpadded"]
    assert memory["output"] < memory["arguments"] / 10  # updated in place
    # Back through a layer is twice the way forward; but for the first one.
    forward = convolution_flops(model, photos=8)
    assert 0.5 < found["flops_per_step"] / (3 * forward) < 2
    assert found["memory"]["fits"]
