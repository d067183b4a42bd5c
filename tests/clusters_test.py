import json

import pytest

from planet_tf.workers import clusters

TWO = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker"}}


def tf_config(jobs, kind="worker", index=0):
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


def test_what_tensorflow_reads():
    cluster = clusters.Cluster(("a:1", "b:2"), 1)
    assert json.loads(cluster.tf_config) == {
        "cluster": {"worker": ["a:1", "b:2"]},
        "task": {"type": "worker", "index": 1},
    }
    assert cluster.address == "b:2"


@pytest.mark.parametrize(
    ("text", "addresses", "index"),
    [
        (tf_config({"worker": ["a:1", "b:1"]}, index=1), ("a:1", "b:1"), 1),
        # As Kubeflow writes it, and with an index that is text.
        (
            '{"cluster": {"worker": ["p-0.ns.svc:2222"]}, "environment":'
            ' "cloud", "task": {"type": "worker", "index": "0"}}',
            ("p-0.ns.svc:2222",),
            0,
        ),
        (
            tf_config({"chief": ["c:1"], "worker": ["a:1"]}, "chief"),
            ("c:1", "a:1"),
            0,
        ),
        (
            tf_config({"chief": ["c:1"], "worker": ["a:1", "b:1"]}, index=1),
            ("c:1", "a:1", "b:1"),
            2,
        ),
    ],
)
def test_a_tf_config_that_is_set(text, addresses, index):
    cluster = clusters.from_tf_config(text)
    assert (cluster.addresses, cluster.index) == (addresses, index)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{", "TF_CONFIG must be like"),
        ("[]", "TF_CONFIG must be like"),
        ('{"cluster": {"worker": ["a:1"]}}', "'task'"),
        ('{"cluster": ["a:1"], "task": {}}', "TF_CONFIG must be like"),
        (tf_config({"worker": ["a:1"]}, "chief"), "'chief'"),
        (tf_config({"worker": ["a:1"]}, index="one"), "one"),
        (tf_config({"worker": ["a:1"]}, index=1), "worker 1 of 1"),
        (tf_config({"worker": ["a:1"]}, index=-1), "worker -1 of 1"),
        (tf_config({"worker": ["a:1", "a:1"]}), "a:1 stands there twice"),
        (
            tf_config({"chief": ["a:1"], "worker": ["a:1"]}),
            "a:1 stands there twice",
        ),
        (tf_config({"ps": ["p:1"], "worker": ["a:1"]}), "has ps"),
        (
            tf_config({"chief": ["c:1", "d:1"], "worker": ["a:1"]}),
            "more than one chief",
        ),
    ],
)
def test_a_tf_config_that_cannot_be_used(text, wanted):
    with pytest.raises(clusters.ClusterError, match=wanted):
        clusters.from_tf_config(text)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("gpu-1", "gpu-1:2222"),
        ("gpu-1.lab.org:80", "gpu-1.lab.org:80"),
        ("10.0.0.1", "10.0.0.1:2222"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[fe80::1]", "[fe80::1]:2222"),
        ("[fe80::1]:80", "[fe80::1]:80"),
    ],
)
def test_hosts_get_a_port(host, address):
    assert clusters.from_hosts([host], 0).addresses == (address,)


@pytest.mark.parametrize(
    ("hosts", "index", "wanted"),
    [
        (["a", "b"], None, "--index"),
        (["a", "b"], 2, "this is worker 2, of workers 0 to 1"),
        (["a", "b"], -1, "this is worker -1"),
        (["a", "a"], 0, "a:2222 stands there twice"),
        (["a", " a:2222"], 0, "a:2222 stands there twice"),
        (["a", ""], 0, "--hosts has ''"),
        (["fe80::1", "b"], 0, "square brackets"),
    ],
)
def test_hosts_that_cannot_be_used(hosts, index, wanted):
    with pytest.raises(clusters.ClusterError, match=wanted):
        clusters.from_hosts(hosts, index)


# What `scontrol show hostnames` makes of them.
@pytest.mark.parametrize(
    ("short", "nodes"),
    [
        ("n1", ["n1"]),
        ("n1,login-2", ["n1", "login-2"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-11,20]", ["n08", "n09", "n10", "n11", "n20"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("n[1,3],m[5-6],x", ["n1", "n3", "m5", "m6", "x"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("n[1-2]-ib,m", ["n1-ib", "n2-ib", "m"]),
    ],
)
def test_short_lists_of_nodes_are_written_out(short, nodes):
    assert clusters.expand_nodes(short) == nodes


@pytest.mark.parametrize("short", ["", "n[1-x]", "n[]", "n[1-2-3]"])
def test_what_is_no_list_of_nodes_is_refused(short):
    with pytest.raises(clusters.ClusterError, match="nodes"):
        clusters.expand_nodes(short)


def slurm(nodes, tasks, rank, node, local, **more):
    return {
        "SLURM_JOB_ID": "1251",
        "SLURM_JOB_NUM_NODES": "9",  # the job may be larger than the step
        "SLURM_JOB_NODELIST": "n[1-9]",
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_PROCID": str(rank),
        "SLURM_NODEID": str(node),
        "SLURM_LOCALID": str(local),
    } | more


@pytest.mark.parametrize(
    ("environment", "addresses", "index"),
    [
        (slurm("n[1-2]", "1(x2)", 1, 1, 0), "n1:12016 n2:12016", 1),
        (slurm("n3", "1", 0, 0, 0), "n3:12016", 0),
        (
            slurm("n[1-2]", "2,1", 2, 1, 0),
            "n1:12016 n1:12017 n2:12016",
            2,
        ),
        (
            slurm("n[1-3]", "2(x2),1", 3, 1, 1, SLURM_JOB_ID="0"),
            "n1:12000 n1:12001 n2:12000 n2:12001 n3:12000",
            3,
        ),
    ],
)
def test_tasks_of_slurm(environment, addresses, index):
    cluster = clusters.from_slurm(environment)
    assert (" ".join(cluster.addresses), cluster.index) == (addresses, index)


def test_ports_of_slurm_stay_below_those_that_linux_gives_away():
    for job in (0, 1249, 1250, 99_999_999):
        cluster = clusters.from_slurm(
            slurm("n", "16", 0, 0, 0, SLURM_JOB_ID=str(job))
        )
        ports = [int(a.partition(":")[2]) for a in cluster.addresses]
        assert min(ports) >= 12_000
        assert max(ports) < 32_768


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"SLURM_JOB_NUM_NODES": "2"}, "by srun"),
        (slurm("n[1-2]", "1(x2)", 2, 1, 0), "worker 2, of workers 0 to 1"),
        (slurm("n[1-2]", "1", 0, 0, 0), "2 nodes and tasks for 1"),
        (slurm("n[1-2]", "1(y2)", 0, 0, 0), "TASKS_PER_NODE is"),
        (slurm("n[1-2]", "2(x2)", 1, 1, 0), "--distribution=block"),
        (slurm("n[1-2]", "1(x2)", "one", 1, 0), "SLURM_PROCID is 'one'"),
        (slurm("n[1-2]", "1(x2)", "", 1, 0), "no SLURM_PROCID"),
    ],
)
def test_what_slurm_may_get_wrong(environment, wanted):
    with pytest.raises(clusters.ClusterError, match=wanted):
        clusters.from_slurm(environment)


JOBSET = {
    "JOB_COMPLETION_INDEX": "1",
    "JOBSET_NAME": "planet",
    "REPLICATED_JOB_NAME": "workers",
    "PLANET_WORKERS": "3",
}


def test_pods_of_a_jobset():
    cluster = clusters.from_jobset(JOBSET)
    assert cluster.index == 1
    assert cluster.addresses == (
        "planet-workers-0-0.planet:2222",
        "planet-workers-0-1.planet:2222",
        "planet-workers-0-2.planet:2222",
    )


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"PLANET_WORKERS": "1"}, "worker 1, of workers 0 to 0"),
        ({"PLANET_WORKERS": "0"}, "worker 1"),
        ({"PLANET_WORKERS": "many"}, "PLANET_WORKERS is 'many'"),
        ({"JOBSET_NAME": ""}, "no JOBSET_NAME"),
    ],
)
def test_what_a_jobset_may_get_wrong(changed, wanted):
    with pytest.raises(clusters.ClusterError, match=wanted):
        clusters.from_jobset(JOBSET | changed)


SLURM = slurm("n[1-2]", "1(x2)", 1, 1, 0)
SET = {"TF_CONFIG": tf_config({"worker": ["a:1"]})}


@pytest.mark.parametrize(
    ("environment", "options", "source"),
    [
        ({}, {}, None),
        (SET | SLURM | JOBSET, {"hosts": ["a"], "index": 0}, "TF_CONFIG"),
        (SLURM | JOBSET, {"hosts": ["a"], "index": 0}, "--hosts"),
        (SLURM | JOBSET, {}, "SLURM"),
        (JOBSET, {}, "JobSet"),
        (SET | SLURM | JOBSET, {"source": "local"}, None),
        (SET | SLURM | JOBSET, {"source": "slurm"}, "SLURM"),
        (SET | SLURM | JOBSET, {"source": "jobset"}, "JobSet"),
        # A batch script on one node, or a shell there, starts local workers.
        ({"SLURM_JOB_NUM_NODES": "1", "SLURM_PROCID": "0"}, {}, None),
    ],
)
def test_the_first_source_that_there_is_counts(environment, options, source):
    cluster = clusters.choose(environment, **options)
    assert (cluster.source if cluster else None) == source


def test_a_base_port_counts_for_all():
    for environment in (SLURM, JOBSET):
        cluster = clusters.choose(environment, base_port=7000)
        assert {a.partition(":")[2] for a in cluster.addresses} == {"7000"}
    hosts = clusters.choose({}, hosts=["a", "b:1"], index=0, base_port=7000)
    assert hosts.addresses == ("a:7000", "b:1")


@pytest.mark.parametrize("count", range(1, 12))
@pytest.mark.parametrize("workers", range(1, 12))
def test_shares_are_even_neighbours(count, workers):
    items = list(range(10, 10 + count))
    shares = [clusters.share(items, workers, i) for i in range(workers)]
    if count < workers:
        assert shares == [()] * workers
    else:
        assert [x for share in shares for x in share] == items
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
