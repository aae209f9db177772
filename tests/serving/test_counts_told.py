"""The counts of an answer: put into a form that was laid out once, or told one by one."""

import gc
import weakref

import numpy as np
import orjson
import pytest

from feature_repo.bundle import FALLBACK_FILE
from feature_repo.targets import METRICS
from serving.counts_told import counts_told, metric_answers
from serving.fallback import FallbackCurves, KnownCounts
from serving.model import LoadedModel
from serving.question import Question
from tests.serving.bundles import HORIZONS, write_bundle
from tests.serving.test_model import AS_OF, stored_values

IS_SUPPORTED = HORIZONS["comments"]  # the others have these too


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LoadedModel:
    directory = tmp_path_factory.mktemp("bundle")
    write_bundle(directory, "synthetic")
    return LoadedModel(directory, "1")


def told_one_by_one(model, question, given):
    ahead = np.rint(model.predict(given, question.days)).tolist()
    return [
        metric_answers(
            model, question, dict(zip(model.metrics, counts, strict=True)), ahead[row], as_of
        )
        for row, (counts, as_of) in enumerate(zip(given.counts.tolist(), given.as_of, strict=True))
    ]


@pytest.mark.parametrize("metrics", [METRICS, METRICS[:1], METRICS[::-1], METRICS[1:]])
@pytest.mark.parametrize("days", [IS_SUPPORTED[:1], IS_SUPPORTED, (1, 30), tuple(range(1, 31))])
def test_a_form_tells_what_is_told_number_by_number(model, days, metrics):
    question, given = Question(days, metrics), model.read(stored_values(model, 300), AS_OF)
    hidden = np.isnan(given.counts).any(axis=1)
    assert 0 < hidden.sum() < 300
    moments = [as_of + at // 100 for at, as_of in enumerate(given.as_of)]
    for shown in (given, given._replace(as_of=moments)):
        told = [orjson.dumps(one) for one in counts_told(model, question, shown)]
        assert told == [orjson.dumps(one) for one in told_one_by_one(model, question, shown)]


def test_where_all_can_be_told_a_form_is_used_and_nowhere_else(model):
    given = model.read(stored_values(model, 300), AS_OF)
    for days, metrics in ((IS_SUPPORTED, METRICS), (IS_SUPPORTED, METRICS[1:]), ((30,), METRICS)):
        question = Question(days, metrics)
        asked = [model.position_of[metric] for metric in metrics]
        is_whole = ~np.isnan(given.counts[:, asked]).any(axis=1)
        wanted = is_whole & set(days).issubset(IS_SUPPORTED)
        told = counts_told(model, question, given)
        assert [isinstance(one, orjson.Fragment) for one in told] == wanted.tolist()


def test_a_form_keeps_no_model_that_is_served_no_more(tmp_path):
    write_bundle(tmp_path, "synthetic", trees=2)
    model = LoadedModel(tmp_path, "1")
    counts_told(model, Question(), model.read(stored_values(model, 1), AS_OF))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_hidden_count_is_told_as_hidden_and_the_others_as_ever(model):
    question, given = Question((1, 7)), model.read(stored_values(model, 300), AS_OF)
    for row in np.flatnonzero(np.isnan(given.counts).any(axis=1)).tolist():
        told = orjson.loads(orjson.dumps(counts_told(model, question, given)[row]))
        for name, count in zip(model.metrics, given.counts[row].tolist(), strict=True):
            reasons = {ahead["reason"] for ahead in told[name]["forecasts"]}
            numbers = {ahead["p50"] for ahead in told[name]["forecasts"]}
            if np.isnan(count):
                assert (told[name]["current"], reasons, numbers) == (None, {"count_hidden"}, {None})
            else:
                assert (told[name]["current"], reasons) == (int(count), {None})
                assert min(numbers) >= int(count)


def test_a_curve_that_ends_hides_no_count(model, tmp_path):
    """Beyond its end nothing is known; a tier that had no labels is told by the curve of all."""
    curve = {"horizons": [1.0, 7.0], "p10": [0.0, 0.1], "p50": [0.1, 0.2], "p90": [0.2, 0.3]}
    none = {"horizons": [], "p10": [], "p50": [], "p90": []}
    file = tmp_path / FALLBACK_FILE
    file.write_bytes(orjson.dumps({name: {"all": curve, "1e3": none} for name in model.metrics}))
    counts = [1000.0, float("nan"), 10.0][: len(model.metrics)]
    known = KnownCounts("UC", model.world, AS_OF - 3_600.0, [], counts, "1e3")
    question = Question((1, 7), model.metrics)
    quantiles = FallbackCurves(tmp_path).quantiles(model.metrics, known, AS_OF, question.days)
    by_name = dict(zip(model.metrics, counts, strict=True))
    told = metric_answers(model, question, by_name, quantiles, AS_OF)
    for name, count in by_name.items():
        reasons = [ahead["reason"] for ahead in told[name]["forecasts"]]
        hidden = np.isnan(count)
        assert reasons == (["count_hidden"] * 2 if hidden else [None, "horizon_not_supported"])
