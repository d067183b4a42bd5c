import threading

import pytest

from planet_tf.serving import batching
from planet_tf.serving.batching import Overloaded, Stopping


class Model:
    """Doubles numbers; says which batches it was asked about."""

    def __init__(self, **options):
        self.batches = []
        self.open = threading.Event()
        self.open.set()
        options = {"size": 8, "wait_seconds": 0.0, "room": 64} | options
        self.batcher = batching.Batcher(self.ask, **options)

    def ask(self, items):
        self.batches.append(list(items))
        assert self.open.wait(10)
        if "bad" in items:
            raise ValueError("a bad item")
        return [2 * item for item in items]


@pytest.fixture
def make():
    made = []

    def model(**options):
        made.append(Model(**options))
        return made[-1]

    yield model
    for own in made:
        own.open.set()
        own.batcher.stop()


def values(futures):
    return [future.result(10) for future in futures]


def block(model):
    """Keeps the model busy; returns the answer to come."""
    model.open.clear()
    with model.batcher.accept(1) as place:
        [future] = place.ask([-1])
        while not model.batches:
            pass
    return future


def test_each_item_gets_its_own_answer(make):
    model = make()
    with model.batcher.accept(20) as place:
        assert values(place.ask(list(range(20)))) == list(range(0, 40, 2))
    assert model.batcher.accepted == 0


@pytest.mark.parametrize(
    ("waiting", "size", "sizes"),
    [(1, 8, [1]), (7, 8, [4, 2, 1]), (13, 8, [8, 4, 1]), (5, 3, [2, 2, 1])],
)
def test_batches_are_powers_of_two(make, waiting, size, sizes):
    model = make(size=size)
    first = block(model)
    with model.batcher.accept(waiting) as place:
        futures = place.ask(list(range(waiting)))
        model.open.set()
        assert values(futures) == [2 * i for i in range(waiting)]
    assert first.result(10) == -2
    assert [len(batch) for batch in model.batches[1:]] == sizes


def test_items_wait_for_others(make):
    model = make(size=4, wait_seconds=10.0)
    with model.batcher.accept(4) as place:
        futures = [place.ask([i])[0] for i in range(4)]
        assert values(futures) == [0, 2, 4, 6]
    assert model.batches == [[0, 1, 2, 3]]


def test_a_failing_batch_fails_alone(make):
    model = make(size=1)
    with model.batcher.accept(3) as place:
        one, bad, two = place.ask(["a", "bad", "b"])
        assert (one.result(10), two.result(10)) == ("aa", "bb")
        with pytest.raises(ValueError, match="a bad item"):
            bad.result(10)
    assert model.batcher.alive


def test_what_nobody_waits_for_is_not_asked(make):
    model = make()
    block(model)
    with model.batcher.accept(3) as place:
        futures = place.ask([1, 2, 3])
        assert futures[1].cancel()
        model.open.set()
        assert (futures[0].result(10), futures[2].result(10)) == (2, 6)
    assert 2 not in sum(model.batches, [])


def test_there_is_room_for_so_many_and_then_again(make):
    model = make(room=4)
    with model.batcher.accept(3):
        model.batcher.check(1)
        assert model.batcher.accepted == 3
        for ask in (model.batcher.accept, model.batcher.check):
            with pytest.raises(Overloaded) as caught:
                ask(2)
            assert caught.value.retry_after >= 1
        with model.batcher.accept(1):
            assert model.batcher.accepted == 4
    model.batcher.check(4)
    assert model.batcher.accepted == 0


def test_stopping_answers_what_was_accepted_and_nothing_new(make):
    model = make()
    block(model)
    with model.batcher.accept(2) as place:
        futures = place.ask([5, 6])
        stopping = threading.Thread(target=model.batcher.stop)
        stopping.start()
        while model.batcher.alive:
            pass
        for ask in (model.batcher.accept, model.batcher.check):
            with pytest.raises(Stopping):
                ask(1)
        model.open.set()
        assert values(futures) == [10, 12]
    stopping.join(10)
    assert not stopping.is_alive()


def test_batches_are_observed(make):
    seen = []
    model = make(observe=lambda size, seconds: seen.append((size, seconds)))
    with model.batcher.accept(2) as place:
        values(place.ask([1, 2]))
    assert sum(size for size, _ in seen) == 2
    assert all(seconds > 0 for _, seconds in seen)


def test_stopping_does_not_wait_for_a_model_that_hangs(make):
    model = make()
    block(model)
    model.batcher.stop(0.01)
    assert not model.batcher.alive
