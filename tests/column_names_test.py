import pytest

from planet_tf.photos import column_names
from planet_tf.photos.column_names import ANSWER, TRUTH


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LAT", ("lat", "", None)),
        (" Longitude ", ("longitude", "", None)),
        ("lat_1", ("lat", "", 1)),
        ("lng10", ("lng", "", 10)),
        ("top2_lat", ("lat", "", 2)),
        ("Top1 Longitude", ("longitude", "", 1)),
        ("predLat", ("lat", ANSWER, None)),
        ("predicted_LON", ("lon", ANSWER, None)),
        ("lat.pred.3", ("lat", ANSWER, 3)),
        ("gt_long", ("long", TRUTH, None)),
        ("ground_truth_lat", ("lat", TRUTH, None)),
        ("lat_bin", ("lat_bin", "", None)),
        ("top_lat", ("top_lat", "", None)),  # no number: a bound, perhaps
        ("latlng", ("latlng", "", None)),
        ("quadtree_10_5000", ("quadtree_10_5000", "", None)),
        ("", ("", "", None)),
    ],
)
def test_a_name_says_what_it_holds_whose_it_is_and_of_which_rank(
    name, expected
):
    assert column_names.parts(name) == expected


def test_the_first_wanted_name_is_found_in_any_case_and_at_its_first_place():
    names = ["x", " LAT ", "latitude", "lat"]
    assert column_names.find(names, ["latitude", "lat"]) == 2
    assert column_names.find(names, ["Lat", "latitude"]) == 1
    assert column_names.find(names, ["y"]) is None
