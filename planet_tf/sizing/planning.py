"""What a run takes, by arithmetic, before anything of it starts.

Nothing is trained: the figures follow from the options, the shards and the
model's graph of layers. Only what TensorFlow itself takes was measured.
"""

import dataclasses
import math
from collections.abc import Iterator

from planet_tf import config_flags
from planet_tf.data.data_dirs import Albums, RecordFiles, Shards
from planet_tf.geo import nesting
from planet_tf.options import album_variants
from planet_tf.options.train_config import (
    RunConfig,
    TrainAlbumsConfig,
    TrainConfig,
)
from planet_tf.sizing import model_size, resources, roofline, traffic
from planet_tf.workers import machine

# Measured: TensorFlow in a process that trains on a CPU, without any array of
# ours; 0.7 GB once it is imported, the rest for graphs and compiled steps.
_PROCESS_BYTES = 1_000_000_000
_BATCHES_AHEAD = 4  # that the input pipeline holds, decoded
# Estimates this much above the memory may still run.
_TOLERANCE = 1 / 0.8
_LINK_GBITS = (10, 100)  # networks to give the time on


class PlanError(config_flags.UsageError):
    """A run that cannot fit where it is to run."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run takes; sizes in bytes.

    Attributes:
      memory: of a process and one replica, by what it is for.
      data: what is trained on.
      body: what the model below its last layer is called.
      coarse_classes: of heads beside that of the partition.
      traffic: between replicas at a step.
      problems: why the run cannot be, and what to do about it.
    """

    config: RunConfig
    hardware: resources.Hardware
    data: RecordFiles
    body: str
    body_parameters: int
    head_parameters: int
    coarse_classes: tuple[int, ...]
    checkpoint: int
    traffic: traffic.Traffic
    memory: dict[str, int]
    problems: tuple[str, ...]

    @property
    def hints(self) -> tuple[str, ...]:
        """What would be better."""
        on_cpu = self.hardware.device == "CPU"
        if (
            on_cpu
            and self.config.precision == "float32"
            and machine.bfloat16_is_native()
        ):
            return (
                "this CPU computes in bfloat16 too: --precision=bfloat16 may"
                " train nearly twice as fast",
            )
        return ()

    @property
    def parameters(self) -> int:
        """Of the whole model, moving statistics included."""
        return self.body_parameters + self.head_parameters

    @property
    def records(self) -> int:
        """Photos or albums to train on."""
        return self.data.count("train")

    @property
    def records_per_replica(self) -> int:
        """Of a step."""
        return self.config.batch_size // self.hardware.replicas

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self.records // self.config.batch_size

    @property
    def disk(self) -> int:
        """Checkpoints, one more while it is written, and the export."""
        return (
            self.config.keep_checkpoints + 1
        ) * self.checkpoint + 4 * self.parameters

    def refuse(self) -> None:
        """Raises PlanError if the run cannot be."""
        if self.problems:
            raise PlanError("; ".join(self.problems))


def photos(
    config: TrainConfig, shards: Shards, hardware: resources.Hardware
) -> Plan:
    """The plan of a training of the photo model.

    It builds the layers of the trunk, and so draws random numbers: seeds are
    to be set after it.
    """
    trunk = model_size.trunk(
        image_size=config.image_size,
        width=config.width,
        standardize=config.standardize,
        dropout=config.dropout,
        precision=config.precision,
    )
    nested = nesting.nest(shards.partition, config.coarse_cells)
    coarse = nested.num_classes if nested else ()
    classes = shards.partition.num_classes + sum(coarse)
    head = (trunk.features + 1) * classes
    size = _number_bytes(config)
    return _plan(
        config,
        shards,
        hardware,
        body=("trunk", trunk.parameters),
        head=head,
        coarse=coarse,
        fixed=trunk.fixed,
        activations=trunk.activations + 3 * classes * size,
        ahead=config.image_size**2 * 3 * 4,
        exchange=traffic.of_step(
            parameters=trunk.parameters + head,
            features=trunk.features,
            classes=classes,
            photos=config.batch_size,
            replicas=hardware.replicas,
            device=hardware.device,
            number=size,
        ),
    )


def albums(
    config: TrainAlbumsConfig, data: Albums, hardware: resources.Hardware
) -> Plan:
    """The plan of a training of an album model; see photos."""
    lstm = model_size.lstm(
        album_variants.VARIANTS[config.variant],
        features=data.features,
        units=config.units,
        time_gaps=config.time_gaps,
        precision=config.precision,
    )
    classes = data.partition.num_classes
    head = (lstm.features + 1) * classes
    size = _number_bytes(config)
    of_album = lstm.activations + 3 * classes * size
    return _plan(
        config,
        data,
        hardware,
        body=("LSTM", lstm.parameters),
        head=head,
        fixed=0,
        activations=data.max_photos * of_album,
        ahead=data.max_photos * data.features * 4,
        exchange=traffic.Traffic(
            hardware.replicas, (lstm.parameters + head + 4) * size, 0
        ),
    )


def _plan(
    config: RunConfig,
    data: RecordFiles,
    hardware: resources.Hardware,
    *,
    body: tuple[str, int],
    head: int,
    fixed: int,
    activations: int,
    ahead: int,
    exchange: traffic.Traffic,
    coarse: tuple[int, ...] = (),
) -> Plan:
    """A plan from counts of numbers, and from bytes of a record in memory."""
    parameters = body[1] + head
    size = _number_bytes(config)
    trained = (parameters - fixed) * size
    records = max(1, config.batch_size // hardware.replicas)
    window = min(config.shuffle_buffer, data.count("train"))
    found = Plan(
        config=config,
        hardware=hardware,
        data=data,
        body=body[0],
        body_parameters=body[1],
        head_parameters=head,
        coarse_classes=coarse,
        checkpoint=parameters * size + trained,
        traffic=exchange,
        memory={
            "TensorFlow and the program": _PROCESS_BYTES,
            "weights": parameters * size,
            "gradients": trained,
            "optimizer": trained,
            "activations": records * activations,
            "batches ahead": _BATCHES_AHEAD * records * ahead,
            "shuffle window": round(window * data.record_bytes()),
        },
        problems=(),
    )
    return dataclasses.replace(found, problems=tuple(_problems(found)))


def _number_bytes(config: RunConfig) -> int:
    """Of a number in a variable."""
    return 8 if config.precision == "float64" else 4


def text(plan: Plan) -> str:
    """The plan for people."""
    config, hardware = plan.config, plan.hardware
    epochs = config.steps / max(1, plan.steps_per_epoch)
    rows = [
        (
            "parameters",
            f"{plan.parameters:,} ({plan.body} {plan.body_parameters:,},"
            f" head {plan.head_parameters:,})",
        ),
        ("classes", _classes_text(plan)),
        (f"training {plan.data.what}", f"{plan.records:,}"),
        (
            "batch",
            f"{config.batch_size:,}: {hardware.replicas} replica(s) of"
            f" {plan.records_per_replica:,} {plan.data.what}",
        ),
        ("steps", f"{config.steps:,}: {epochs:,.2f} epochs"),
        ("steps per epoch", f"{plan.steps_per_epoch:,}"),
        (
            "checkpoint",
            f"{_size(plan.checkpoint)}, {config.keep_checkpoints} kept",
        ),
        ("disk", _of(plan.disk, hardware.disk)),
        ("traffic", _traffic_text(plan.traffic)),
        ("memory", _of(_needed(plan), hardware.memory)),
        *((f"  {k}", _size(v)) for k, v in _parts(plan).items()),
    ]
    if hardware.device == "TPU":
        rows.append(("  of a TPU core", "launch/check_tpu.sh tells"))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    lines += [f"hint: {hint}" for hint in plan.hints]
    return "\n".join(lines + [f"problem: {x}" for x in plan.problems])


def _classes_text(plan: Plan) -> str:
    own = f"{plan.data.partition.num_classes:,}"
    if not plan.coarse_classes:
        return own
    coarse = ", ".join(f"{n:,}" for n in plan.coarse_classes)
    return f"{own}; of coarser heads {coarse}"


def _parts(plan: Plan) -> dict[str, int]:
    """What the device's memory is for: RAM, if the device is a CPU."""
    if plan.hardware.device == "CPU":
        return plan.memory
    on_device = ("weights", "gradients", "optimizer", "activations")
    return {name: plan.memory[name] for name in on_device}


def _needed(plan: Plan) -> int:
    return sum(_parts(plan).values())


def _problems(plan: Plan) -> Iterator[str]:
    config, hardware, what = plan.config, plan.hardware, plan.data.what
    if plan.records < config.batch_size:
        yield (
            f"there are {plan.records:,} training {what} and --batch_size is"
            f" {config.batch_size:,}: take a batch of at most"
            f" {_allowed(plan.records, plan):,}, or more {what}"
        )
    if config.lanes % hardware.replicas:
        yield (
            f"--lanes is {config.lanes} with {hardware.replicas} replicas: it"
            f" must be a multiple of them, e.g. --lanes={hardware.replicas}"
        )
    memory = hardware.memory
    if memory is not None and _needed(plan) > _TOLERANCE * memory:
        yield (
            f"a replica needs about {_size(_needed(plan))} of the"
            f" {hardware.device}'s memory, and there are {_size(memory)}:"
            f" {_smaller(plan, memory)}"
        )
    if hardware.disk is not None and plan.disk > hardware.disk:
        yield (
            f"checkpoints and the export need {_size(plan.disk)} in"
            f" {config.model_dir}, and {_size(hardware.disk)} are free: make"
            " room there, take another --model_dir, or lower"
            f" --keep_checkpoints ({config.keep_checkpoints})"
        )


def _smaller(plan: Plan, memory: int) -> str:
    """What to do about too little memory."""
    parts = _parts(plan)
    by_batch = parts["activations"] + parts.get("batches ahead", 0)
    fitting = roofline.largest_batch(
        memory,
        sum(parts.values()) - by_batch,
        by_batch,
        plan.records_per_replica,
    )
    batch = _allowed(fitting * plan.hardware.replicas, plan)
    if batch:
        return f"--batch_size={batch} should fit"
    window = parts.get("shuffle window", 0)
    if window > memory / 2:
        return (
            f"the shuffle window takes {_size(window)}: lower --shuffle_buffer"
        )
    return f"no batch fits: take a smaller {plan.data.model_options}"


def _allowed(batch: int, plan: Plan) -> int:
    """The largest batch up to `batch` that lanes and replicas can share."""
    share = math.lcm(plan.config.lanes, plan.hardware.replicas)
    return batch // share * share


def _traffic_text(found: traffic.Traffic) -> str:
    summed = f"all-reduce of {_size(found.summed)} a step"
    if found.replicas == 1:
        return f"none; were there more replicas, {summed} at most"
    gathered = f"all-gather of {_size(found.gathered)} for the head's gradient"
    what = f"{summed}, {gathered}" if found.gathered else summed
    times = []
    for gbits in _LINK_GBITS:
        seconds = found.sent / (gbits * roofline.GIGA / 8)
        times.append(f"{seconds:.2g} s at {gbits} Gbit/s")
    sent = f"each replica sends {_size(found.sent)}"
    return f"{what}: {sent}, {', '.join(times)} at best"


def _of(needed: int, there: int | None) -> str:
    known = "unknown" if there is None else _size(there)
    return f"{_size(needed)} of {known}"


def _size(size: float) -> str:
    unit, name = (1e9, "GB") if size >= 0.9995e9 else (1e6, "MB")
    digits = 1 if size < 100 * unit else 0
    return f"{size / unit:,.{digits}f} {name}"
