"""Checks without a TPU whether the train step compiles for one and fits.

launch/check_tpu.sh [--topology=v5e:2x2] [--batch_size=512] [options]

Builds the model and the step that planet_tf.train would run, has the TPU's
own compiler (package libtpu) compile it ahead of time, and prints the memory
a core needs, the arithmetic of a step and what the chip's peaks allow at
best. Nothing runs on a TPU. The full model takes some 5 minutes on 2 cores.

Exit code 1: it does not fit, or it does not compile. The options that
planet_tf.train has too mean the same here.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from planet_tf import config_flags
from planet_tf.config_flags import option
from planet_tf.options.train_config import (
    MIN_IMAGE_SIZE,
    PRECISIONS,
    TrainConfig,
)
from planet_tf.sizing import roofline, tpu_compile

_GB = roofline.GIGA


@dataclasses.dataclass(frozen=True)
class CheckTpuConfig:
    """Options of `planet_tf.check_tpu`."""

    topology: str = option(
        "v5e:2x2", help="chip and grid of the slice; chips v4, v5e, v5p, v6e"
    )
    classes: int = option(
        26_263,
        help="classes of the partition (26,263 in the paper) and, with"
        " --coarse_cells, of the coarser ones together",
        low=2,
    )
    batch_size: int = option(
        512, help="photos a step, all cores of the slice", low=1
    )
    image_size: int = option(
        299, help="side of the model's images, pixels", low=MIN_IMAGE_SIZE
    )
    width: float = option(
        1.0, help="share of InceptionV3's filters to keep", low=0.1, high=1
    )
    standardize: bool = option(
        False, help="give each colour of each image mean 0 and deviation 1"
    )
    precision: str = option(
        "bfloat16",
        help="what layers compute in; a TPU has no float64",
        choices=[p for p in PRECISIONS if p != "float64"],
    )
    epoch_photos: int = option(
        91_000_000, help="photos of an epoch (91 M in the paper)", low=1
    )
    json: bool = option(False, help="print one JSON object for machines")


@dataclasses.dataclass(frozen=True)
class Step:
    """The train step of one replica, as TensorFlow hands it over."""

    stablehlo: str
    parameters: int
    gradient_bytes: int


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    config, _ = config_flags.parse(CheckTpuConfig, argv, usage=__doc__)
    try:
        _, cores = tpu_compile.parse_topology(config.topology)
        _check_batch(config, cores)
    except (config_flags.UsageError, tpu_compile.CompileError) as error:
        config_flags.fail(error)
    if missing := tpu_compile.missing_packages():
        print(
            f"error: not installed: {', '.join(missing)}; the check needs the"
            " TPU's compiler: pip install 'planet-tf[tpu-check]'",
            file=sys.stderr,
        )
        return 1
    try:
        report = check(config)
    except tpu_compile.CompileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=2) if config.json else text(report))
    return 0 if report["memory"]["fits"] else 1


def check(config: CheckTpuConfig) -> dict[str, Any]:
    """Builds and compiles; returns the report, for `--json` and for `text`."""
    _, cores = tpu_compile.parse_topology(config.topology)
    _say(f"building the model and its step for {cores} cores")
    step = replica_step(config, config.batch_size // cores)
    _say(f"compiling for {config.topology}: minutes for the full model")
    figures = tpu_compile.compile_in_child(step.stablehlo, config.topology)
    return make_report(config, step, figures)


def replica_step(config: CheckTpuConfig, photos: int) -> Step:
    """One replica's step over so many photos, as planet_tf.train makes it."""
    import tensorflow as tf

    from planet_tf.training import photo_steps, photo_task, steps

    options = TrainConfig(
        shards="",
        model_dir="",
        image_size=config.image_size,
        width=config.width,
        standardize=config.standardize,
        precision=config.precision,
        batch_size=config.batch_size,
        lanes=config.batch_size // photos,
    )
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = photo_task.build_model(options, config.classes)
        optimizer = steps.Adagrad(model.trainable_variables)
    step = photo_steps.replica_step(model, optimizer, options)

    def of_batch(image: tf.Tensor, label: tf.Tensor) -> tuple:
        return strategy.run(step, args=({"image": image, "label": label},))

    compiled = tf.function(of_batch, jit_compile=True, autograph=False)
    size = config.image_size
    lower = compiled.experimental_get_compiler_ir(
        tf.TensorSpec((photos, size, size, 3), tf.float32),
        tf.TensorSpec((photos,), tf.int64),
    )
    return Step(
        stablehlo=lower(stage="stablehlo"),
        parameters=model.count_params(),
        gradient_bytes=sum(
            v.value.dtype.size * v.value.shape.num_elements()
            for v in model.trainable_variables
        ),
    )


def _memory(
    chip: roofline.Chip, step: Step, figures: tpu_compile.Figures
) -> dict[str, Any]:
    """Bytes of a core's memory that are needed, and whether it has them."""
    hbm = int(chip.hbm_bytes / figures.cores_per_chip)
    return {
        "arguments": figures.arguments,
        "temporaries": figures.temporaries,
        "output": figures.output,
        "code": figures.code,
        "needed": figures.needed,
        "chip": hbm,
        "fits": not figures.too_large and figures.needed <= hbm,
        "arguments_unpadded": tpu_compile.argument_bytes(step.stablehlo),
        "compiler_says": figures.too_large,
    }


def make_report(
    config: CheckTpuConfig, step: Step, figures: tpu_compile.Figures
) -> dict[str, Any]:
    """All that is printed, from what was compiled."""
    chip_name, _ = tpu_compile.parse_topology(config.topology)
    chip = roofline.CHIPS[chip_name]
    photos = config.batch_size // figures.cores
    memory = _memory(chip, step, figures)
    report = {
        "options": dataclasses.asdict(config),
        "device": figures.device,
        "versions": figures.versions,
        "compile_seconds": round(figures.compile_seconds, 1),
        "cores": figures.cores,
        "photos_per_core": photos,
        "parameters": step.parameters,
        "gradient_bytes": step.gradient_bytes,
        "memory": memory,
    }
    if not memory["fits"]:
        return report | {"smaller": _smaller(memory, photos, figures.cores)}
    bound = roofline.estimate(
        chip,
        cores=figures.cores,
        cores_per_chip=figures.cores_per_chip,
        flops=figures.flops,
        bytes_accessed=figures.bytes_accessed,
        gradient_bytes=step.gradient_bytes,
        photos_per_core=photos,
        epoch_photos=config.epoch_photos,
    )
    return report | {
        "flops_per_step": figures.flops,
        "flops_per_photo": figures.flops / photos,
        "bytes_accessed_per_step": figures.bytes_accessed,
        "estimate": dataclasses.asdict(bound),
    }


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    options, memory = report["options"], report["memory"]
    versions = ", ".join(f"{k} {v}" for k, v in report["versions"].items())
    lines = [
        "TPU check: compiled ahead of time; NOTHING RAN ON A TPU",
        f"  slice        {options['topology']}: {report['cores']} cores of"
        f" {report['device']}",
        f"  compiler     {versions}; {report['compile_seconds']:.0f} s",
        f"  model        InceptionV3, width {options['width']:g},"
        f" {options['image_size']} pixels, {options['classes']:,} classes,"
        f" {options['precision']}",
        f"  parameters   {report['parameters']:,}",
        f"  batch        {options['batch_size']:,} photos a step,"
        f" {report['photos_per_core']} a core",
        "",
        *_memory_lines(memory, report),
    ]
    if memory["fits"]:
        lines += ["", *_speed_lines(report)]
    return "\n".join(lines)


def _memory_lines(memory: dict[str, Any], report: dict[str, Any]) -> list[str]:
    lines = ["Memory of a core (the compiler's figures)"]
    if not memory["compiler_says"]:
        lines += [
            f"  arguments    {memory['arguments'] / _GB:8.3f} GB  (variables,"
            f" batch; {memory['arguments_unpadded'] / _GB:.3f} before padding)",
            f"  temporaries  {memory['temporaries'] / _GB:8.3f} GB",
            f"  output       {memory['output'] / _GB:8.3f} GB  (variables are"
            " updated in place)",
            f"  code         {memory['code'] / _GB:8.3f} GB",
        ]
    needed, chip = memory["needed"] / _GB, memory["chip"] / _GB
    verdict = "fits" if memory["fits"] else "DOES NOT FIT"
    lines.append(
        f"  needed       {needed:8.3f} GB  of {chip:.0f} GB: {verdict}"
    )
    if not memory["fits"]:
        lines += ["", _advice(report)]
    return lines


def _speed_lines(report: dict[str, Any]) -> list[str]:
    bound = report["estimate"]
    photos = report["options"]["epoch_photos"] / 1e6
    flops = report["flops_per_step"] / 1e12
    moved = report["bytes_accessed_per_step"] / _GB
    reduced = report["gradient_bytes"] / _GB
    side = "arithmetic"
    if bound["memory_seconds"] > bound["compute_seconds"]:
        side = "memory"
    return [
        "Work of a core's step (the compiler's figures)",
        f"  arithmetic   {flops:8.3f} TFLOP,"
        f" {report['flops_per_photo'] / 1e9:.1f} GFLOP a photo",
        f"  memory       {moved:8.1f} GB read and written",
        "",
        "Roofline (ESTIMATE from published peaks; expect less)",
        f"  arithmetic   {bound['compute_seconds'] * 1e3:8.1f} ms",
        f"  memory       {bound['memory_seconds'] * 1e3:8.1f} ms",
        f"  all-reduce   {bound['all_reduce_seconds'] * 1e3:8.1f} ms  = 2"
        f" (n-1)/n x {reduced:.3f} GB of gradients / one link, n ="
        f" {report['cores']}",
        f"  step         {bound['step_seconds'] * 1e3:8.1f} ms  = the longer of"
        f" the first two ({side}) + all-reduce",
        f"  speed        {bound['photos_per_second_per_core']:8,.0f} photos/s a"
        f" core, {bound['photos_per_second']:,.0f} the slice",
        f"  epoch        {bound['hours_per_epoch']:8.1f} hours for"
        f" {photos:g} M photos, if the hosts decode as fast",
    ]


def _advice(report: dict[str, Any]) -> str:
    fewer = report["smaller"]
    if not fewer:
        return "Try a chip with more memory, a smaller --width or fewer cells."
    return (
        f"--batch_size={fewer} should fit (scaled from this compilation, not"
        " compiled: run the check with it), or a chip with more memory."
    )


def _smaller(memory: dict[str, Any], photos: int, cores: int) -> int:
    """A global batch that should fit, 0 if none: memory grows with it."""
    fixed = memory["arguments"] + memory["output"] + memory["code"]
    fixed = fixed or memory["arguments_unpadded"]  # the compiler gave none
    growing = max(memory["needed"] - fixed, 1)
    found = roofline.largest_batch(memory["chip"], fixed, growing, photos)
    return cores * min(found, photos // 2)  # half, as scaling is rough


def _check_batch(config: CheckTpuConfig, cores: int) -> None:
    if config.batch_size % cores:
        raise config_flags.UsageError(
            f"--batch_size is {config.batch_size} and {config.topology} has"
            f" {cores} cores: it must be a multiple of them"
        )


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
