"""The Kubernetes manifests against published schemas.

Pods and Jobs are checked against the schemas of Kubernetes itself. Those of
JobSet and TFJob, which are no part of it, are stood in for by the fields that
their documentation names; no controller's own validation is run.
"""

import pathlib

import pytest
import yaml

from planet_tf.workers import clusters, gang

kubernetes_validate = pytest.importorskip("kubernetes_validate")

LAUNCH = pathlib.Path(__file__).parent.parent / "launch"
VERSION = "1.31"


def load(name):
    return yaml.safe_load((LAUNCH / "k8s" / name).read_text())


def check_job(spec):
    """Checks the spec of a Job against Kubernetes' schema."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "planet-workers-0"},
        "spec": spec,
    }
    kubernetes_validate.validate(job, VERSION, strict=True)


@pytest.fixture
def jobset():
    return load("jobset.yaml")


@pytest.fixture
def job(jobset):
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]


def test_the_jobset_has_fields_that_jobsets_have(jobset):
    assert set(jobset) == {"apiVersion", "kind", "metadata", "spec"}
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert jobset["kind"] == "JobSet"
    spec = jobset["spec"]
    assert set(spec) == {"failurePolicy", "replicatedJobs"}
    policy = spec["failurePolicy"]
    assert set(policy) == {"maxRestarts", "restartStrategy", "rules"}
    assert policy["restartStrategy"] in ("Recreate", "BlockingRecreate")
    for rule in policy["rules"]:
        assert set(rule) == {"name", "action", "onJobFailureReasons"}
    (workers,) = spec["replicatedJobs"]
    assert set(workers) == {"name", "replicas", "template"}
    assert set(workers["template"]) == {"spec"}
    assert workers["replicas"] == 1


def test_the_jobsets_job_is_a_job(job):
    check_job(job)
    job["template"]["spec"]["restartPolicyy"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        check_job(job)


def test_the_workers_of_the_jobset_find_each_other(jobset, job):
    (container,) = job["template"]["spec"]["containers"]
    environment = {}
    for entry in container["env"]:
        field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        # What the controller annotates each pod with.
        environment[entry["name"]] = {
            None: entry.get("value"),
            "metadata.annotations['jobset.sigs.k8s.io/jobset-name']": "planet",
            "metadata.annotations['jobset.sigs.k8s.io/replicatedjob-name']": (
                jobset["spec"]["replicatedJobs"][0]["name"]
            ),
        }[field]
    environment["JOB_COMPLETION_INDEX"] = "0"  # set by Kubernetes
    cluster = clusters.choose(environment)
    assert cluster.source == "JobSet"
    assert len(cluster.addresses) == job["completions"] == job["parallelism"]
    assert job["completionMode"] == "Indexed"
    port = container["ports"][0]["containerPort"]
    assert cluster.address == f"planet-workers-0-0.planet:{port}"


def action(jobset, job, code, disrupted=False):
    """What becomes of the JobSet when a worker fails: by the documents."""
    reason = "BackoffLimitExceeded"  # as backoffLimit is 0
    for rule in job["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes", {})
        assert codes.get("operator", "In") == "In"
        if code in codes.get("values", ()) or (
            disrupted and "onPodConditions" in rule
        ):
            if rule["action"] == "FailJob":
                reason = "PodFailurePolicy"
            break
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        if reason in rule["onJobFailureReasons"]:
            return rule["action"]
    return "RestartJobSet"


@pytest.mark.parametrize(
    ("code", "disrupted", "wanted"),
    [
        (1, False, "FailJobSet"),
        (2, False, "FailJobSet"),
        (127, False, "FailJobSet"),
        (gang.PREEMPTED, False, "RestartJobSet"),
        (137, False, "RestartJobSet"),
        (143, True, "RestartJobSet"),
        (1, True, "RestartJobSet"),
    ],
)
def test_what_starts_all_workers_again(jobset, job, code, disrupted, wanted):
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert action(jobset, job, code, disrupted) == wanted


def test_the_tfjob_has_fields_that_tfjobs_have():
    tfjob = load("tfjob.yaml")
    assert set(tfjob) == {"apiVersion", "kind", "metadata", "spec"}
    assert (tfjob["apiVersion"], tfjob["kind"]) == ("kubeflow.org/v1", "TFJob")
    spec = tfjob["spec"]
    assert set(spec) == {"runPolicy", "tfReplicaSpecs"}
    assert set(spec["runPolicy"]) <= {"cleanPodPolicy", "backoffLimit"}
    assert spec["runPolicy"]["cleanPodPolicy"] in ("All", "Running", "None")
    assert set(spec["tfReplicaSpecs"]) == {"Worker"}
    worker = spec["tfReplicaSpecs"]["Worker"]
    assert set(worker) == {"replicas", "restartPolicy", "template"}
    assert worker["restartPolicy"] == "ExitCode"
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow"
    assert container["ports"][0]["name"] == "tfjob-port"
    # The operator gives the pods a restart policy of their own.
    pod = worker["template"]
    pod["spec"]["restartPolicy"] = "Never"
    check_job({"template": pod})


def test_both_manifests_run_the_same(job):
    workers = load("tfjob.yaml")["spec"]["tfReplicaSpecs"]["Worker"]
    (one,) = job["template"]["spec"]["containers"]
    (other,) = workers["template"]["spec"]["containers"]
    for key in ("image", "command", "args", "resources"):
        assert one[key] == other[key]
    assert workers["replicas"] == job["completions"]
    assert (LAUNCH.parent / one["command"][0]).exists()
