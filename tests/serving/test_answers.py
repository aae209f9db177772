"""An answer's numbers: put into a form that was laid out once, or told one by one."""

from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import orjson
import pytest

from feature_repo.targets import METRICS
from serving.answers import Basis, Circumstances, Question, answer, metric_answers, new_forecast_id
from serving.model import LoadedModel
from tests.serving.bundles import write_bundle

NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LoadedModel:
    directory = tmp_path_factory.mktemp("bundle")
    write_bundle(directory, "synthetic")
    return LoadedModel(directory, "1")


def asked_about(model, question, counts, quantiles, as_of=NOW):
    moment = datetime.fromtimestamp(NOW, UTC)
    asked = Circumstances(model, True, question, moment, NOW, NOW, 3600.0)
    seen = Basis("video_00001", None, [NOW] * 3, "online_store", None, NOW, counts, "1e3", None, [])
    return answer(asked, seen, as_of, quantiles)


def drawn(model, question, chance):
    counts = np.rint(10.0 ** chance.uniform(0, 11, len(model.metrics))).tolist()
    shape = (len(model.metrics), len(question.days), 3)
    return counts, np.rint(10.0 ** chance.uniform(0, 11, shape)).tolist()


@pytest.mark.parametrize("metrics", [METRICS, METRICS[:1], METRICS[::-1]])
@pytest.mark.parametrize("days", [(1,), (1, 7, 30), tuple(range(1, 31))])
def test_a_form_tells_what_is_told_number_by_number(model, days, metrics):
    question, chance = Question(days, metrics), np.random.default_rng(7)
    for as_of in (NOW, NOW + 1, NOW):
        counts, quantiles = drawn(model, question, chance)
        told = orjson.loads(asked_about(model, question, counts, quantiles, as_of).answer)
        known = dict(zip(model.metrics, counts, strict=True))
        assert told["metrics"] == metric_answers(model, question, known, quantiles, as_of)


@pytest.mark.parametrize("hidden", range(len(METRICS)))
def test_a_hidden_count_is_told_as_hidden_and_the_others_as_ever(model, hidden):
    question = Question((1, 7))
    counts, quantiles = drawn(model, question, np.random.default_rng(hidden))
    whole = orjson.loads(asked_about(model, question, counts, quantiles).answer)["metrics"]
    counts[hidden], quantiles[hidden] = float("nan"), [[float("nan")] * 3] * 2
    told = orjson.loads(asked_about(model, question, counts, quantiles).answer)["metrics"]
    name = model.metrics[hidden]
    assert told[name]["current"] is None
    assert [ahead["reason"] for ahead in told[name]["forecasts"]] == ["count_hidden"] * 2
    del told[name], whole[name]
    assert told == whole


def test_ids_of_forecasts_are_random_uuids():
    ids = {new_forecast_id() for _ in range(1000)}
    assert len(ids) == 1000
    for told in ids:
        parsed = UUID(told)
        assert (str(parsed), parsed.version, parsed.variant) == (told, 4, "specified in RFC 4122")
