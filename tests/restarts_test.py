import pytest

from planet_tf.workers import restarts


@pytest.mark.parametrize(
    ("before", "delay"), [(0, 0.5), (1, 1), (3, 4), (7, 60), (10**6, 60)]
)
def test_restarts_in_a_row_wait_longer_and_longer(before, delay):
    assert restarts.Policy(most=9, delay_seconds=0.5).delay(before) == delay
