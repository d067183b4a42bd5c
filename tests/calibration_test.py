import numpy as np
import pytest

from planet_tf.reports import bootstrap, calibration

RNG = np.random.default_rng(11)


def test_reliability_equals_a_count_by_hand():
    confidence = RNG.random(400)
    confidence[:3] = 0, 1, 1 / 15
    right = RNG.random(400) < confidence**2
    found = calibration.reliability(
        confidence, right, bootstrap.of_photos(400, resamples=200)
    )
    error = 0.0
    for k, (low, high) in enumerate(found.edges):
        own = [
            i
            for i, c in enumerate(confidence)
            if low <= c < high or (high == 1 and c == 1)
        ]
        assert found.photos[k] == len(own)
        assert found.confidence[k] == pytest.approx(confidence[own].mean())
        assert found.accuracy[k] == pytest.approx(right[own].mean())
        gap = abs(confidence[own].mean() - right[own].mean())
        error += gap * len(own) / 400
    assert found.photos.sum() == 400
    assert found.error == pytest.approx(error)
    assert found.interval[0] < error < found.interval[1]


def test_the_surer_a_system_pretends_to_be_the_larger_its_error():
    true = RNG.random(20_000)
    right = RNG.random(20_000) < true
    boot = bootstrap.of_photos(20_000, resamples=100)
    errors = [
        calibration.reliability(c, right, boot).error
        for c in (true, true**0.5, np.ones_like(true))
    ]
    assert errors[0] < 0.02
    assert errors[1] == pytest.approx(2 / 3 - 1 / 2, abs=0.02)
    assert errors[2] == pytest.approx(1 / 2, abs=0.02)


def test_risk_at_each_coverage_equals_a_count_by_hand():
    confidence = RNG.integers(0, 20, 200) / 20
    right = RNG.random(200) < confidence
    found = calibration.risk_coverage(confidence, right)
    assert found.threshold.tolist() == sorted(set(confidence), reverse=True)
    for threshold, coverage, risk in zip(
        found.threshold, found.coverage, found.risk, strict=True
    ):
        answered = confidence >= threshold
        assert coverage == pytest.approx(answered.mean())
        assert risk == pytest.approx(1 - right[answered].mean())
    assert found.coverage[-1] == 1


def test_abstention_answers_as_much_as_it_may():
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([1, 0, 1, 1, 0], bool)
    found = calibration.risk_coverage(confidence, right)
    assert found.abstention(0.75) == pytest.approx((0.6, 0.8))
    assert found.abstention(0.9) == pytest.approx((0.9, 0.2))
    assert found.abstention(0.5) == pytest.approx((0.5, 1.0))
    none = calibration.risk_coverage(confidence, ~right)
    assert none.abstention(0.6) is None


def test_the_area_of_what_knows_its_errors_is_least():
    right = np.arange(100) < 60
    knows = calibration.risk_coverage(1 - np.arange(100) / 100, right)
    other = calibration.risk_coverage(np.arange(100) / 100, right)
    same = calibration.risk_coverage(np.full(100, 0.5), right)
    assert knows.area < same.area < other.area
    assert same.area == pytest.approx(0.4)


@pytest.mark.parametrize("truth", [0.6, 1.0, 1.7])
def test_the_temperature_that_was_put_in_is_found(truth):
    logits = RNG.normal(0, 2, (8000, 12))
    real = np.exp(logits / truth)
    real /= real.sum(1, keepdims=True)
    labels = np.array([RNG.choice(12, p=p) for p in real])
    claimed = np.exp(logits)
    claimed /= claimed.sum(1, keepdims=True)
    fit = calibration.TemperatureFit()
    fit.add(claimed[:3000], labels[:3000])
    fit.add(claimed[3000:], labels[3000:])
    assert fit.photos == 8000
    assert fit.best() == pytest.approx(truth, rel=0.06)


def test_a_temperature_divides_the_logits():
    logits = RNG.normal(0, 2, (5, 7))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = np.exp(logits / 3) / np.exp(logits / 3).sum(1, keepdims=True)
    np.testing.assert_allclose(
        calibration.tempered(probabilities, 3.0), wanted, rtol=1e-6
    )


def test_labels_of_probability_0_are_survived():
    fit = calibration.TemperatureFit()
    fit.add(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert fit.best() == 4  # as little confidence as it can
