import numpy as np
import pytest
from evaluations import make_evaluated

from planet_tf.reports import report_photos


def test_what_was_written_is_read_again():
    evaluated = make_evaluated()
    ids = np.array([f'odd, "name" {i}' for i in range(38)] + ["7", ""])
    text = report_photos.dump(evaluated, ids)
    found = report_photos.load(text)
    assert found.ids.tolist() == ids.tolist()
    assert found.group.tolist() == evaluated.bootstrap.group.tolist()
    np.testing.assert_array_equal(found.truth, evaluated.truth)
    wanted = evaluated.scores["ours"]
    assert found.all_scores().keys() == wanted.keys()
    for name, values in found.all_scores().items():
        np.testing.assert_array_equal(values, wanted[name], name)
    assert np.isinf(found.errors[-1]).all()


def test_some_photos_are_taken_with_all_that_is_known_of_them():
    evaluated = make_evaluated()
    ids = np.array([str(i) for i in range(40)])
    whole = report_photos.load(report_photos.dump(evaluated, ids))
    rows = np.array([7, 3, 39])
    some = whole.take(rows)
    assert some.ids.tolist() == ["7", "3", "39"]
    for name, values in some.all_scores().items():
        np.testing.assert_array_equal(values, whole.all_scores()[name][rows])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,group,lat,lng,error_km,best_of_5_km\n", "no photos"),
        ("id,group,lat,lng,error_km\n1,0,2,3,4\n", "best_of_5_km"),
        ("id,group,lat,lng,error_km,best_of_5_km\n1,0,x,3,4,5\n", "'x'"),
    ],
)
def test_what_is_no_such_file_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        report_photos.load(text.encode())
