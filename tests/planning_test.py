import dataclasses
import pathlib
import types

import pytest

from planet_tf import config_flags
from planet_tf.data import data_dirs
from planet_tf.model import album_models
from planet_tf.options import album_variants
from planet_tf.options.train_config import TrainAlbumsConfig, TrainConfig
from planet_tf.sizing import planning, resources, traffic
from planet_tf.workers import machine

GB = 10**9


class PaperShards:
    """Of the size of the paper's data, without the photos."""

    what = data_dirs.Shards.what
    model_options = data_dirs.Shards.model_options
    partition = types.SimpleNamespace(num_classes=26_263)

    def count(self, split):
        return {"train": 91_000_000, "validation": 34_000_000}[split]

    def __init__(self, record=100_000):
        self.record = record

    def record_bytes(self):
        return self.record


@pytest.fixture(scope="module")
def paper():
    """A plan for the paper's 200 machines."""
    config = TrainConfig(
        shards="", model_dir="", batch_size=6_400, lanes=200, steps=100_000
    )
    there = resources.Hardware(replicas=200, memory=16 * GB, disk=100 * GB)
    return planning.photos(config, PaperShards(), there)


def test_the_papers_parameters_are_counted_without_the_head(paper):
    assert paper.parameters == 75_615_671
    assert paper.body_parameters == 21_802_784  # Keras' own, without top
    assert paper.head_parameters == (2_048 + 1) * 26_263
    # 17,216 channels are normalised; each has a mean and a variance.
    assert paper.memory["gradients"] == (75_615_671 - 2 * 17_216) * 4
    assert paper.memory["optimizer"] == paper.memory["gradients"]


def test_the_papers_steps_and_bytes_are_those_computed_by_hand(paper):
    assert paper.steps_per_epoch == 14_218  # 91,000,000 // 6,400
    assert paper.records_per_replica == 32
    numbers = 75_615_671 + 3  # with loss, accuracy and stops
    assert paper.traffic == traffic.Traffic(200, 4 * numbers, 0)
    assert paper.traffic.sent == pytest.approx(
        2 * 199 / 200 * 4 * numbers, abs=1
    )
    assert paper.checkpoint == 4 * (75_615_671 + 75_581_239)
    assert paper.disk == 4 * paper.checkpoint + 4 * 75_615_671
    assert paper.memory["shuffle window"] == 16_384 * 100_000
    assert paper.problems == ()
    paper.refuse()


@pytest.mark.parametrize(
    ("precision", "device", "flags", "hinted"),
    [
        ("float32", "CPU", "avx512f avx512_bf16", True),
        ("float32", "CPU", "avx2 amx_bf16 amx_tile", True),
        ("float32", "CPU", "avx512f avx512_vnni", False),
        ("bfloat16", "CPU", "avx512_bf16", False),
        ("float32", "GPU", "avx512_bf16", False),
        ("float32", "CPU", None, False),  # no Linux
    ],
)
def test_bfloat16_is_hinted_at_where_the_cpu_has_it(
    paper, tmp_path, monkeypatch, precision, device, flags, hinted
):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"processor : 0\nflags : fpu {flags} sse\n")
    monkeypatch.setattr(machine, "_CPUINFO", path)
    plan = dataclasses.replace(
        paper,
        config=dataclasses.replace(paper.config, precision=precision),
        hardware=dataclasses.replace(paper.hardware, device=device),
    )
    assert ("--precision=bfloat16" in planning.text(plan)) == hinted


def test_the_text_says_it_for_people(paper):
    text = planning.text(paper)
    for part in (
        "75,615,671 (trunk 21,802,784, head 53,812,887)",
        "6,400: 200 replica(s) of 32 photos",
        "100,000: 7.03 epochs",
        "0.48 s at 10 Gbit/s",
        "605 MB, 3 kept",
        "GB of 16.0 GB",
    ):
        assert part in text


def test_coarser_heads_are_counted_as_the_model_has_them(make_plan):
    there = resources.Hardware(replicas=2)
    plain, plan = make_plan(there), make_plan(there, coarse_cells=(3,))
    features = plain.head_parameters // 4 - 1
    assert plan.head_parameters == (features + 1) * (4 + 3)
    more = 3 * (features + 1)
    assert plan.parameters == plain.parameters + more
    assert plan.traffic.summed == plain.traffic.summed + 4 * more
    assert "classes                       4; of coarser heads 3\n" in (
        planning.text(plan)
    )
    assert plain.coarse_classes == ()


def test_a_few_machines_send_little_for_the_head(paper):
    config = dataclasses.replace(paper.config, batch_size=256, lanes=8)
    there = dataclasses.replace(paper.hardware, replicas=8)
    plan = planning.photos(config, PaperShards(), there)
    trunk = 4 * (21_802_784 + 3)
    factors = 4 * 256 * (2_048 + 26_263)
    assert plan.traffic == traffic.Traffic(8, trunk, factors)
    assert (
        "all-reduce of 87.2 MB a step, all-gather of 29.0 MB for the head's"
        " gradient: each replica sends 178 MB" in planning.text(plan)
    )


@pytest.fixture(scope="module")
def make_plan(small_shards):
    """A function for plans of a small model on the small shards."""
    small = data_dirs.open_shards(str(small_shards))

    class SmallShards(PaperShards):
        """With records of a known size."""

        partition = small.partition
        count = staticmethod(small.count)

    def make(there=None, record=2_000, shards=None, **options):
        known = {"image_size": 75, "width": 0.1, "batch_size": 16}
        config = TrainConfig(
            shards=str(small_shards), model_dir="m", **(known | options)
        )
        there = there or resources.Hardware()
        return planning.photos(config, shards or SmallShards(record), there)

    return make


def test_what_there_is_enough_of_is_no_problem(make_plan):
    there = resources.Hardware(replicas=2, memory=8 * GB, disk=GB)
    assert make_plan(there).problems == ()


def test_memory_grows_with_what_is_held(make_plan):
    plain = make_plan().memory
    larger = make_plan(batch_size=32).memory
    assert larger["activations"] == 2 * plain["activations"]
    assert larger["weights"] == plain["weights"]
    shared = make_plan(resources.Hardware(replicas=2)).memory
    assert 2 * shared["activations"] == plain["activations"]
    # No more than there are of photos: 320.
    assert plain["shuffle window"] == 320 * 2_000


@pytest.mark.slow  # builds one more model
def test_activations_are_narrow_where_layers_compute_so(make_plan):
    plain, narrow = (
        make_plan(precision=p).memory for p in ("float32", "bfloat16")
    )
    assert 0.45 < narrow["activations"] / plain["activations"] < 0.7
    assert narrow["weights"] == plain["weights"]


def test_too_little_memory_names_a_batch_that_fits(make_plan):
    there = resources.Hardware(memory=2_000_000_000)

    def plan(batch):
        return make_plan(
            there, shards=PaperShards(2_000), batch_size=batch, lanes=3
        )

    refused = plan(3_999)
    [problem] = refused.problems
    assert "of the CPU's memory, and there are 2.0 GB" in problem
    batch = int(problem.partition("--batch_size=")[2].split()[0])
    assert batch % 3 == 0
    needed = [sum(plan(b).memory.values()) for b in (batch, batch + 33)]
    assert needed[0] <= there.memory < needed[1]
    with pytest.raises(config_flags.UsageError, match="--batch_size="):
        refused.refuse()


def test_somewhat_too_little_memory_is_not_refused(make_plan):
    needed = sum(make_plan().memory.values())
    assert not make_plan(
        resources.Hardware(memory=round(0.85 * needed))
    ).problems
    assert make_plan(resources.Hardware(memory=round(0.75 * needed))).problems


def test_what_no_batch_helps_is_said_so(make_plan):
    [problem] = make_plan(resources.Hardware(memory=GB // 2)).problems
    assert "no batch fits" in problem
    [problem] = make_plan(
        resources.Hardware(memory=3 * GB), record=10_000_000
    ).problems
    assert "the shuffle window takes 3.2 GB: lower --shuffle_buffer" in problem


def test_a_gpus_memory_holds_no_photos_to_shuffle(make_plan):
    there = resources.Hardware(device="GPU", memory=GB)
    assert not make_plan(there, record=10_000_000).problems
    assert make_plan(resources.Hardware(memory=GB), record=10_000_000).problems


def test_a_full_disk_is_refused(make_plan):
    there = resources.Hardware(disk=1_000_000)
    [problem] = make_plan(there).problems
    assert "1.0 MB are free" in problem
    assert "--keep_checkpoints" in problem


def test_fewer_photos_than_a_batch_are_refused(make_plan):
    [problem] = make_plan(batch_size=400, lanes=4).problems
    assert "320 training photos and --batch_size is 400" in problem
    assert "at most 320" in problem


def test_lanes_that_replicas_cannot_share_are_refused(make_plan):
    [problem] = make_plan(resources.Hardware(replicas=4)).problems
    assert "e.g. --lanes=4" in problem


def test_the_tpus_memory_is_for_another_program_to_tell(make_plan):
    text = planning.text(make_plan(resources.Hardware(device="TPU")))
    assert "launch/check_tpu.sh" in text


def test_records_are_measured_in_the_first_file(small_shards):
    shards = data_dirs.open_shards(str(small_shards))
    path = pathlib.Path(shards.split("train")[0][0])
    count = shards.split("train")[0][1]
    assert shards.record_bytes() == path.stat().st_size / count


def test_an_album_models_parameters_are_those_of_the_model():
    config = TrainAlbumsConfig(
        albums="",
        model_dir="",
        variant="bidirectional",
        units=7,
        time_gaps=True,
    )
    albums = types.SimpleNamespace(
        what="albums",
        model_options="--units",
        partition=types.SimpleNamespace(num_classes=5),
        count=lambda split: 1_000,
        record_bytes=lambda: 100,
        features=11,
        max_photos=25,
    )
    there = resources.Hardware(replicas=2)
    plan = planning.albums(config, albums, there)
    model = album_models.build(
        5,
        features=11,
        variant=album_variants.VARIANTS["bidirectional"],
        units=7,
        time_gaps=True,
    )
    assert plan.parameters == model.count_params()
    assert plan.traffic.summed == 4 * (model.count_params() + 4)
    assert "training albums" in planning.text(plan)
