import numpy as np
import pytest
import tensorflow as tf

from planet_tf.geo import geometry
from planet_tf.geo import partition as partition_lib
from planet_tf.training import soft_labels
from planet_tf.training.soft_labels import SoftLabels

# Faces of all continents, a pole and the antimeridian.
PLACES = ((48.8, 2.3), (40.7, -74.0), (-33.4, -70.6), (89.9, 10), (0, 179.9))


def photos(count=400):
    rng = np.random.default_rng(0)
    spread = rng.choice([0.1, 5.0], (count, 1)) * rng.normal(0, 1, (count, 2))
    lat, lng = (np.array(PLACES)[np.arange(count) % len(PLACES)] + spread).T
    return np.clip(lat, -89.99, 89.99), (lng + 180) % 360 - 180


def make_partition(**options):
    return partition_lib.build(
        *photos(), **({"max_photos": 20, "min_photos": 5} | options)
    )


def batch(partition):
    """Labels and points of all photos that have a label."""
    lat, lng = photos()
    labels = partition.labels(lat, lng)
    latlng = np.stack([lat, lng], 1).astype(np.float32)
    return labels[labels >= 0], latlng[labels >= 0]


def in_float64(partition, km, label, point):
    """Shares of one photo's cells, one by one."""
    if partition.other_class and label == 0:
        return [1.0] + [0.0] * len(partition.tokens)
    away = [
        float(geometry.great_circle_km(*point, *p)) for p in partition.points
    ]
    own = label - partition.other_class
    shares = [np.exp(-max(d - away[own], 0.1 * d) / km) for d in away]
    shares[own] = 1.0
    shares = [s / sum(shares) for s in shares]
    return [0.0, *shares] if partition.other_class else shares


@pytest.mark.parametrize("other_class", [False, True])
@pytest.mark.parametrize("km", [20.0, 300.0])
def test_shares_are_those_of_the_equation_in_float64(km, other_class):
    partition = make_partition(other_class=other_class)
    labels, latlng = batch(partition)
    found = SoftLabels(partition, km)(labels, latlng)
    wanted = [
        in_float64(partition, km, label, point.astype(np.float64))
        for label, point in zip(labels, latlng, strict=True)
    ]
    assert found.dtype == tf.float32
    assert (0 in labels) or not other_class
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    np.testing.assert_allclose(tf.reduce_sum(found, 1), 1, rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_distances_are_right_in_float32_at_any_distance(compiled):
    rng = np.random.default_rng(0)
    start = geometry.from_vectors(rng.normal(size=(20, 3)))
    edges = [[90, 0], [-90, 7], [0, 180], [0, -180], [51, -179.9999]]
    start = np.concatenate([start, edges]).astype(np.float32)
    exact = start.astype(np.float64)
    half = np.pi * geometry.EARTH_RADIUS_KM  # the last is the opposite point
    km = np.concatenate([[0], np.logspace(-3, 4.3, 30), [half]])
    end = np.concatenate(
        [
            geometry.destinations(*at, rng.uniform(0, 360, len(km)), km)
            for at in exact
        ]
    )
    vectors = geometry.to_vectors(*end.T).astype(np.float32)

    @tf.function(jit_compile=compiled)
    def measure(latlng):
        return soft_labels.distances_km(latlng, vectors)

    found = measure(start).numpy()
    wanted = geometry.great_circle_km(*exact.T[..., None], *end.T)
    assert wanted.min() < 1e-3
    assert wanted.max() > half - 1e-3
    assert np.isfinite(found).all()
    assert (np.abs(found - wanted) <= np.maximum(0.1, 1e-3 * wanted)).all()
    np.testing.assert_allclose(
        found[wanted < 10], wanted[wanted < 10], atol=0.01
    )


def test_the_own_cell_has_the_most_and_nearer_cells_more_than_farther():
    partition = make_partition()
    labels, latlng = batch(partition)
    found = SoftLabels(partition, 200.0)(labels, latlng).numpy()
    km = soft_labels.distances_km(
        latlng, geometry.to_vectors(*partition.latlng.T).astype("float32")
    ).numpy()
    rows = np.arange(len(labels))
    nearest = km.argmin(1)
    assert (nearest != labels).sum() > 5  # cells of different size abut
    np.testing.assert_array_equal(found.argmax(1), labels)
    km[rows, labels] = 0
    order = np.argsort(km, axis=1)
    sorted_shares = np.take_along_axis(found, order, 1)
    assert (np.diff(sorted_shares, axis=1) <= 1e-9).all()


def test_towards_a_scale_of_zero_the_own_cell_has_it_all():
    partition = make_partition(other_class=True)
    labels, latlng = batch(partition)
    one_hot = np.eye(partition.num_classes)[labels]
    left = [
        np.abs(SoftLabels(partition, km)(labels, latlng) - one_hot).max()
        for km in (1e3, 1e1, 1e-1, 1e-3, 1e-30)
    ]
    assert left == sorted(left, reverse=True)
    assert left[0] > 0.1
    assert left[-1] == 0


def test_other_is_one_hot_and_no_other_photos_share_it():
    partition = make_partition(other_class=True)
    labels = np.array([0, 0, 1])
    # Far from all cells at a small scale, and in a cell.
    latlng = np.array([[-48.8, -177.7], partition.points[3], [48, 2]], "f")
    found = SoftLabels(partition, 0.1)(labels, latlng).numpy()
    np.testing.assert_array_equal(found[:2, 0], 1)
    np.testing.assert_array_equal(found[:2, 1:], 0)
    assert found[2, 0] == 0


@pytest.mark.parametrize("other_class", [False, True])
def test_xla_computes_the_same(other_class):
    partition = make_partition(other_class=other_class)
    labels, latlng = (x[:16] for x in batch(partition))
    soft = SoftLabels(partition, 100.0)
    compiled = tf.function(soft, jit_compile=True)
    np.testing.assert_allclose(
        compiled(labels, latlng), soft(labels, latlng), atol=1e-5
    )


@pytest.mark.parametrize("km", [0.0, -1.0, float("nan")])
def test_a_scale_of_zero_is_refused(km):
    with pytest.raises(ValueError, match="above 0 km"):
        SoftLabels(make_partition(), km)
