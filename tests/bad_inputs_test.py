import collections
import json

import bad_inputs
import numpy as np
import pytest

from beam_pipelines import check_photos, write_shards
from beam_pipelines.photo_statistics import Note
from planet_tf.geo import partition
from planet_tf.photos.rejects import Reason

_NOTED = {f"note/{note}" for note in Note}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A partition that all photos are inside of."""
    lat = np.array([bad_inputs.LAT, 48.0, -40.0, bad_inputs.LAT])
    lng = np.array([bad_inputs.LNG, 2.0, -74.0, -180.0])
    path = tmp_path_factory.mktemp("cells") / "partition.json"
    with path.open("w") as file:
        partition.dump(
            partition.build(lat, lng, max_photos=10, min_photos=1), file
        )
    return path


@pytest.fixture(
    scope="module",
    params=[bad_inputs.make_manifest, bad_inputs.make_exif_files],
    ids=["rows and images", "EXIF"],
)
def ended(request, tmp_path_factory, cells):
    """Where both programs say that each bad input ends, and the truth."""
    path = tmp_path_factory.mktemp("bad")
    source, truth = request.param(path / "source")
    common = [
        f"--photos={source}",
        f"--partition={cells}",
        "--max_reject_fraction=1",
        "--runner=FnApiRunner",
    ]
    own = [f"--latest_time={bad_inputs.LATEST_TIME}", f"--out={path}/check"]
    assert check_photos.main(["check_photos", *common, *own]) == 0
    shards = ["--shards=2", f"--out={path}/shards"]
    assert write_shards.main(["write_shards", *common, *shards]) == 0
    return path, truth


def rejects(directory):
    return [
        line
        for path in sorted(directory.glob("rejects-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_there_are_at_least_forty_bad_inputs(tmp_path):
    _, one = bad_inputs.make_manifest(tmp_path / "a")
    _, two = bad_inputs.make_exif_files(tmp_path / "b")
    bad = [verdict for _, verdict in one + two if isinstance(verdict, Reason)]
    assert len(bad) >= 40
    # The rest is of partitions, tables, archives and albums.
    assert set(Reason) - set(bad) == {
        Reason.OUTSIDE_PARTITION,
        Reason.NO_PHOTO_OF_ROW,
        Reason.MALFORMED_ARCHIVE,
        Reason.TRUNCATED_ARCHIVE,
        Reason.SEEN_IN_TRAINING,
        Reason.SHORT_ALBUM,
    }


def test_the_doctor_rejects_what_is_bad_for_the_right_reason(ended):
    path, truth = ended
    found = [json.loads(line) for line in rejects(path / "check")]
    expected = [(i, v) for i, v in truth if isinstance(v, Reason)]
    assert sorted((r["id"], r["reason"]) for r in found) == sorted(expected)


def test_write_shards_rejects_the_same_in_the_same_words(ended):
    path, _ = ended
    assert rejects(path / "check") == rejects(path / "shards")


def test_the_summary_counts_what_the_truth_says(ended):
    path, truth = ended
    report = json.loads((path / "check/report.json").read_text())
    counted = collections.Counter(v for _, v in truth if isinstance(v, Reason))
    assert report["rejects"] == counted
    tally = report["statistics"]["tally"]
    for reason, number in counted.items():
        assert tally[f"reject/{reason}"][0] == number


def test_what_is_odd_but_taken_is_noted(ended):
    path, truth = ended
    if truth[0][0] not in bad_inputs.images():
        pytest.skip("files have neither owners nor albums")
    tally = json.loads((path / "check/report.json").read_text())["statistics"]
    expected = {}
    for photo_id, verdict in truth:
        if isinstance(verdict, Note):
            expected.setdefault(f"note/{verdict}", []).append(photo_id)
    found = {
        name: ids for name, (_, ids) in tally["tally"].items() if name in _NOTED
    }
    assert found == {name: sorted(ids) for name, ids in expected.items()}


def test_every_finding_is_in_the_readable_report(ended):
    path, _ = ended
    report = json.loads((path / "check/report.json").read_text())
    text = (path / "check/report.md").read_text()
    assert report["findings"]
    for finding in report["findings"]:
        assert f"| {finding['level']} | {finding['count']:,} | " in text
        assert finding["what"] in text
