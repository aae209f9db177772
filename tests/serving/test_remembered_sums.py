from collections import Counter

import numpy as np
import pytest

from serving.model import LoadedModel
from serving.onnx_session import OnnxSession
from serving.remembered_sums import RememberedSums
from tests.serving.bundles import write_bundle

DAYS, LATER = np.array([1, 7]), np.array([2, 30])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("remembered")
    write_bundle(path, "synthetic", trees=60)
    return path


@pytest.fixture
def model(directory):
    return LoadedModel(directory, "1", remembered=50)


class Walked:
    """Walks the trees, and notes how many rows it was asked to walk for."""

    def __init__(self, forest):
        self._forest = forest
        self.rows = 0

    def __call__(self, places, days):
        self.rows += len(places)
        return self._forest.walk(places, days)


def remembering(model, capacity):
    walked = Walked(model._forest)
    return RememberedSums(walked, len(model.metrics), capacity), walked


def test_remembered_sums_are_the_graphs_to_the_bit(directory, model):
    session = OnnxSession(directory, model.contract)
    for seed in range(6):  # more rows than are remembered, some of them over and over
        probes = np.concatenate([model._forest.probes(30, seed=1), model._forest.probes(30, seed)])
        for rows in (probes, probes[:1], probes[::-1], probes[5:25]):
            for days in (DAYS, LATER):
                found = model._growth(rows, days)
                np.testing.assert_array_equal(found, session.evaluate(rows, days))


def test_rows_between_the_same_thresholds_are_walked_for_once(model):
    sums, walked = remembering(model, 10)
    row = model._forest.probes(1)
    cuts = model._forest._cuts[: model._forest._cut_bounds[1]]
    row[0, 0] = cuts[0]
    beside = row.copy()
    beside[0, 0] = np.nextafter(cuts[0], np.float32(-np.inf))
    beyond = row.copy()
    beyond[0, 0] = np.nextafter(cuts[0], np.float32(np.inf))
    places = model._forest.places
    first = sums.sums(places(row), DAYS)
    np.testing.assert_array_equal(sums.sums(places(beside), DAYS), first)
    assert walked.rows == 1
    np.testing.assert_array_equal(
        sums.sums(places(beyond), DAYS), model._forest.walk(places(beyond), DAYS)
    )
    assert walked.rows == 2
    sums.sums(places(row), LATER)
    assert walked.rows == 3


def test_rows_are_counted_by_what_answered_them(directory):
    counted = Counter()
    model = LoadedModel(directory, "1", 50, lambda source, rows: counted.update({source: rows}))
    rows = model._forest.probes(5)
    model._growth(rows[:3], DAYS)
    assert counted == {"trees": 3}
    model._growth(rows, DAYS)
    assert counted == {"memory": 3, "trees": 5}


def test_what_is_done_to_an_answer_is_not_remembered(model):
    sums, _ = remembering(model, 10)
    places = model._forest.places(model._forest.probes(3))
    wanted = model._forest.walk(places, DAYS)
    for _ in range(3):
        sums.sums(places, DAYS)[:] = 0.0
    np.testing.assert_array_equal(sums.sums(places, DAYS), wanted)


def test_no_more_is_remembered_than_allowed_and_the_oldest_goes(model):
    sums, walked = remembering(model, 4)
    places = model._forest.places(model._forest.probes(6))
    assert len(np.unique(places, axis=0)) == 6
    sums.sums(places, DAYS)
    assert len(sums) == 4
    sums.sums(places[2:], DAYS)
    assert walked.rows == 6
    sums.sums(places[:2], DAYS)
    assert walked.rows == 8


def test_nothing_is_remembered_unless_asked_for(directory):
    model = LoadedModel(directory, "1")
    rows = model._forest.probes(5)
    model._growth(rows, DAYS)
    assert len(model._sums) == 0
