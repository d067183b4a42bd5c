import json

import pytest

from planet_tf import distribution


def cluster(task, **jobs):
    return json.dumps({"cluster": jobs, "task": task})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "needs TF_CONFIG"),
        ("not json", "not a cluster description"),
        ("[]", "not a cluster description"),
        (cluster({"type": "worker"}, worker=["a:1"]), "not a cluster"),
        (cluster({"type": "chief", "index": 0}, worker=["a:1"]), "not a clus"),
        (
            cluster({"type": "worker", "index": 2}, worker=["a:1", "b:1"]),
            "this is worker 2 of 2",
        ),
        (
            cluster({"type": "worker", "index": 0}, worker=["a:1", "a:1"]),
            "names an address twice",
        ),
    ],
)
def test_a_bad_tf_config_is_refused_before_anyone_waits(
    monkeypatch, text, wanted
):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(distribution.ClusterError, match=wanted):
        distribution.make_strategy("multi_worker")


def test_one_device_is_the_default_without_a_cluster_or_gpus(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = distribution.make_strategy("auto")
    assert strategy.num_replicas_in_sync == 1
    assert distribution.is_chief(strategy)
    assert distribution.num_workers(strategy) == 1
