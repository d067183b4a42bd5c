import pytest
import tensorflow as tf

from planet_tf.sizing import resources

MEMINFO = "MemTotal: 8000 kB\nMemFree: 10 kB\nMemAvailable: 5000 kB\n"
OWN = 1024 * 700


@pytest.fixture
def machine(tmp_path):
    """A function that writes the files a machine tells its memory by."""

    def make(files):
        known = {
            "proc/meminfo": MEMINFO,
            "proc/self/status": "Name:\tpython\nVmRSS:\t    700 kB\n",
        }
        for name, text in (known | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path)

    return make


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 5_120_000),
        # Version 2: a job's group, in a group without a limit.
        (
            {
                "proc/self/cgroup": "0::/slurm/job_7\n",
                f"{V2}/slurm/memory.max": "max\n",
                f"{V2}/slurm/memory.current": "999\n",
                f"{V2}/slurm/job_7/memory.max": "3000000\n",
                f"{V2}/slurm/job_7/memory.current": "1000000\n",
                f"{V2}/slurm/job_7/memory.stat": "anon 1\ninactive_file 500\n",
            },
            2_000_500,
        ),
        # A limit of a group around it.
        (
            {
                "proc/self/cgroup": "0::/slurm/job_7\n",
                f"{V2}/slurm/memory.max": "2000000\n",
                f"{V2}/slurm/memory.current": "1500000\n",
                f"{V2}/slurm/job_7/memory.max": "3000000\n",
                f"{V2}/slurm/job_7/memory.current": "1000000\n",
            },
            500_000,
        ),
        # A container, which sees its own group as the root.
        (
            {
                "proc/self/cgroup": "0::/\n",
                f"{V2}/memory.max": "1000\n",
                f"{V2}/memory.current": "2000\n",
            },
            0,
        ),
        # Version 1.
        (
            {
                "proc/self/cgroup": "9:cpu:/\n4:memory:/box\n0::/\n",
                f"{V1}/box/memory.limit_in_bytes": "700000\n",
                f"{V1}/box/memory.usage_in_bytes": "600000\n",
            },
            100_000,
        ),
        # Version 1's way to say that there is no limit.
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                f"{V1}/memory.limit_in_bytes": f"{2**63 - 4096}\n",
                f"{V1}/memory.usage_in_bytes": "600000\n",
            },
            5_120_000,
        ),
    ],
)
def test_memory_is_what_all_groups_leave_and_the_process_has(
    machine, files, free
):
    assert resources.host_memory(machine(files)) == free + OWN


def test_a_machine_that_does_not_tell_is_unknown(tmp_path):
    assert resources.host_memory(str(tmp_path)) is None


def test_this_machine_is_a_cpu_with_memory_and_a_disk(tmp_path):
    found = resources.hardware(
        str(tmp_path / "not" / "yet"), tf.distribute.OneDeviceStrategy("/cpu:0")
    )
    assert (found.replicas, found.device) == (1, "CPU")
    assert found.memory > 10**8
    assert found.disk > 0


def test_the_disk_of_a_bucket_is_unknown():
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    assert resources.hardware("gs://bucket/model", strategy).disk is None
