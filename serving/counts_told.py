"""The part of an answer that tells counts: for each metric its present one and those to come."""

import itertools
import re
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from feature_repo.targets import QUANTILES
from serving.contracts import Reason
from serving.draft_model import DraftModel
from serving.model import LoadedModel, ModelInput, multiplied
from serving.question import Question
from serving.row_kernel import MAX_DIGITS, tell

# Stands in a form for a count; what a count will never be.
_FIRST_PLACE, _PLACE = 10**15, re.compile(rb"\b1000000000000\d{3}\b")


class Form(NamedTuple):
    """The JSON that all answers of a moment share, with places for their numbers.

    Attributes:
        order: The model's metrics in the order of the question.
        literals: What stands before each number and after the last, one after the other.
        bounds: Where each of these begins, and the end.
    """

    order: NDArray[np.int64]
    literals: NDArray[np.uint8]
    bounds: NDArray[np.int64]

    def tell(
        self, factors: NDArray[np.float64], present: NDArray[np.float64], first: int, last: int
    ) -> list[orjson.Fragment]:
        """Tell the counts of some rows, up to the first that lacks one; see the kernel `tell`."""
        rows = last - first
        longest = len(self.literals) + MAX_DIGITS * len(self.bounds)
        told, ends = np.empty(rows * longest, np.uint8), np.empty(rows, np.int64)
        done = tell(factors, present, first, last, *self, told, ends)
        text, start, fragments = told.data, 0, []
        for end in ends[:done].tolist():
            fragments.append(orjson.Fragment(bytes(text[start:end])))
            start = end
        return fragments


def counts_told(model: LoadedModel, question: Question, given: ModelInput) -> list[Any]:
    """Give `metric_answers` of each row: as JSON by a form, or as they are where a number lacks."""
    factors, moments = model.factors(given, question.days), given.as_of
    told: list[Any] = []
    while len(told) < len(moments):
        first = len(told)
        as_of = moments[first]
        form = _form(weakref.ref(model), question, as_of)
        if form is not None:
            last = first + 1
            while last < len(moments) and moments[last] == as_of:
                last += 1
            told += form.tell(factors, given.counts, first, last)
            if len(told) == last:
                continue
        row = len(told)
        ahead = np.rint(multiplied(factors[row], given.counts[row])).tolist()
        counts = dict(zip(model.metrics, given.counts[row].tolist(), strict=True))
        told.append(metric_answers(model, question, counts, ahead, as_of))
    return told


@lru_cache(maxsize=256)
def _form(
    held: "weakref.ref[LoadedModel]", question: Question, as_of_seconds: float
) -> Form | None:
    """Lay out what answers of a moment have in common; None where some number is never told."""
    model = held()  # what is remembered keeps no model that another took the place of
    assert model is not None
    positions = model.position_of
    if not all(
        metric in positions and model.supported_days[positions[metric]].issuperset(question.days)
        for metric in question.metrics
    ):
        return None
    places = map(float, itertools.count(_FIRST_PLACE))
    counts: dict[str, float] = {}
    quantiles: list[list[list[float]]] = [[] for _ in positions]
    for metric in question.metrics:
        counts[metric] = next(places)
        quantiles[positions[metric]] = [
            list(itertools.islice(places, len(QUANTILES))) for _ in question.days
        ]
    told = orjson.dumps(metric_answers(model, question, counts, quantiles, as_of_seconds))
    literals = _PLACE.split(told)
    return Form(
        np.array([positions[metric] for metric in question.metrics]),
        np.frombuffer(bytearray().join(literals), np.uint8),  # no kernel takes what is read-only
        np.cumsum([0, *map(len, literals)]),
    )


def metric_answers(
    model: LoadedModel | DraftModel,
    question: Question,
    counts: Mapping[str, float],
    quantiles: list[list[list[float]]],
    as_of_seconds: float,
) -> dict[str, Any]:
    """Give the numbers of an answer: all that a replay has to repeat."""
    moments = moments_ahead(as_of_seconds, question.days)
    days, supported, positions = question.days, model.supported_days, model.position_of
    answers = {}
    for metric in question.metrics:
        current = counts.get(metric, float("nan"))
        at = positions.get(metric)
        if at is None:
            ahead = [_none(day, moments[n], "metric_not_supported") for n, day in enumerate(days)]
        else:
            own, known = quantiles[at], supported[at]
            ahead = [
                _horizon(
                    day, moments[n], own[n], is_hidden=current != current, is_supported=day in known
                )
                for n, day in enumerate(days)
            ]
        answers[metric] = {
            "current": int(current) if current == current else None,  # NaN is not itself
            "forecasts": ahead,
        }
    return answers


@lru_cache(maxsize=256)
def moments_ahead(as_of_seconds: float, days: tuple[int, ...]) -> list[str]:
    """Give the moments that lie some days after another, in ISO 8601."""
    as_of = datetime.fromtimestamp(as_of_seconds, UTC)
    return [
        (as_of + timedelta(days=day)).isoformat().replace("+00:00", "Z") for day in days
    ]  # fmt: skip


def _horizon(
    day: int, moment: str, values: list[float], *, is_hidden: bool, is_supported: bool
) -> dict[str, Any]:
    if not is_supported:
        return _none(day, moment, "horizon_not_supported")
    p10, p50, p90 = values
    if p50 != p50:  # NaN: of a count that is known, a fallback curve ends before that day
        return _none(day, moment, "count_hidden" if is_hidden else "horizon_not_supported")
    return {
        "horizon_days": day, "at": moment, "p10": int(p10), "p50": int(p50), "p90": int(p90),
        "reason": None,
    }  # fmt: skip


def _none(day: int, moment: str, reason: Reason) -> dict[str, Any]:
    return {
        "horizon_days": day, "at": moment, "p10": None, "p50": None, "p90": None, "reason": reason,
    }  # fmt: skip
