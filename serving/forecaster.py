"""The use case: video ids and a question -> stored features -> model -> forecasts, logged."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from feature_repo.online_layout import LayoutError
from feature_repo.segments import TIERS
from serving.answers import Basis, Circumstances, answer, basis
from serving.champion import Champion
from serving.coalescing import Coalescer
from serving.counts_told import counts_told, metric_answers
from serving.errors import (
    FAULT,
    FeaturesIncomplete,
    FeaturesUnavailable,
    InvalidVideoId,
    ModelUnavailable,
    Problem,
    UnknownVideo,
    WorldMismatch,
)
from serving.fallback import KnownCounts, RecentFeatures
from serving.forecast_log import ForecastLog, ForecastRecord
from serving.metrics import ServingMetrics
from serving.model import LoadedModel, ModelInput
from serving.online_features import (
    PERFORMANCE_VIEW,
    OnlineFeatures,
    ReadPlan,
    StoredVector,
    within_age,
)
from serving.question import Question
from serving.video_ids import is_video_id

Outcome = ForecastRecord | Problem
Found = StoredVector | Problem

_log = logging.getLogger(__name__)

_ROWS_ON_THE_LOOP = 64
_ANSWERS_AT_ONCE = 50
# How long ago videos were read, seconds, where it was not just now.
_Ages = Mapping[str, float]
_JUST_NOW: _Ages = {}


class Look(NamedTuple):
    """A video as the model being served reads it."""

    model: LoadedModel
    directory: Path
    vector: StoredVector
    given: ModelInput
    as_of: datetime


class Forecaster:
    """Answers questions about videos with the model being served at that moment."""

    def __init__(
        self,
        features: OnlineFeatures,
        champion: Champion[LoadedModel],
        log: ForecastLog,
        now: Callable[[], datetime],
        metrics: ServingMetrics,
        max_age_seconds: float,
        recent: RecentFeatures,
    ) -> None:
        self.features = features
        self.champion = champion
        self.log = log
        self.metrics = metrics
        self._now = now
        self.max_age_seconds = max_age_seconds
        self._recent = recent
        self._coalescer: Coalescer[Question, Outcome] = Coalescer(
            self._forecast_read, self._forecast_held
        )

    @property
    def remembers(self) -> bool:
        """Whether some videos can be forecast without the online store."""
        return len(self._recent) > 0

    def forecast_one(self, video_id: str, question: Question) -> Awaitable[Outcome]:
        """Forecast one video, together with others that are asked for at the same moment."""
        return self._coalescer.answer(video_id, question)

    async def forecast(self, video_ids: Sequence[str], question: Question) -> Sequence[Outcome]:
        """Forecast videos: one read, one inference; a forecast or a problem per id, in order."""
        known = self._forecast_held(video_ids, question)
        return await self._forecast_read(video_ids, question) if known is None else known

    async def look(self, video_id: str) -> Look:
        """Read a video as the model does, without a forecast.

        Raises:
            Problem: There is no model, or no honest look at the video.
        """
        model, directory = self.champion.model(), self.champion.directory
        assert directory is not None  # a model came from somewhere
        if not is_video_id(video_id):
            raise InvalidVideoId(video_id)
        second = float(math.floor(self._now().timestamp()))
        (found,), ages = await self._found(model, [video_id], second)
        if isinstance(found, Problem):
            raise found
        given = model.read(found.values[np.newaxis], second)
        if not ages:
            now, tier = asyncio.get_running_loop().time(), TIERS[given.tiers[0]]
            self._remember(model, found, now, given.counts[0].tolist(), tier)
        return Look(model, directory, found, given, datetime.fromtimestamp(given.as_of[0], UTC))

    def _circumstances(self, model: LoadedModel, question: Question) -> Circumstances:
        """Give what holds for every answer of a request that is made now."""
        asked_at = self._now()
        now = asked_at.timestamp()
        return Circumstances(
            model, self.champion.is_confirmed, question, asked_at, now, float(math.floor(now)),
            self.max_age_seconds,
        )  # fmt: skip

    def _forecast_held(
        self, video_ids: Sequence[str], question: Question
    ) -> Sequence[Outcome] | None:
        """Forecast videos that the store vouches for; None for others, or for very many."""
        started, model = perf_counter(), self.champion.current
        if model is None or len(video_ids) > _ROWS_ON_THE_LOOP:
            return None
        held = self.features.held(model.plan, video_ids)
        if held is None:
            return None
        asked = self._circumstances(model, question)
        found = _checked(model, held, asked.second)
        answers = self._answered_at_once(asked, _vectors(found), _JUST_NOW)
        outcomes = _woven(found, answers)
        self._note(outcomes, started)
        return outcomes

    async def _forecast_read(
        self, video_ids: Sequence[str], question: Question
    ) -> Sequence[Outcome]:
        """Forecast videos of which some have to be read."""
        started, read_at = perf_counter(), asyncio.get_running_loop().time()
        try:
            asked = self._circumstances(self.champion.model(), question)
        except ModelUnavailable as problem:
            outcomes: Sequence[Outcome] = [problem] * len(video_ids)
        else:
            found, ages = await self._found(asked.model, video_ids, asked.second)
            vectors = _vectors(found)
            answers = await self._answered(asked, vectors, ages)
            for vector, told in zip(vectors, answers, strict=True):
                if vector.video_id not in ages:
                    counts = list(told.counts.values())
                    self._remember(asked.model, vector, read_at, counts, told.tier)
            known = [
                self._by_curves(asked, one, video_id)
                if isinstance(one, FeaturesUnavailable)
                else one
                for video_id, one in zip(video_ids, found, strict=True)
            ]
            outcomes = _woven(known, answers)
        self._note(outcomes, started)
        return outcomes

    def _note(self, outcomes: Sequence[Outcome], started: float) -> None:
        """Log forecasts, and count all outcomes."""
        for outcome in outcomes:
            if isinstance(outcome, Problem):
                self.metrics.forecasts.add(outcome.code, 1)
            else:
                self.log.append(outcome)
                self.metrics.forecasts.add("degraded" if outcome.degraded else "answered", 1)
        self.metrics.duration.observe(perf_counter() - started)

    async def _found(
        self, model: LoadedModel, video_ids: Sequence[str], second: float
    ) -> tuple[list[Found], _Ages]:
        """Read videos; of those the store does not give now, recall what it gave last."""
        well_formed = [video_id for video_id in video_ids if is_video_id(video_id)]
        read: list[Found] = []
        ages = _JUST_NOW
        if well_formed:
            try:
                read = await self._read(model.plan, well_formed)
            except FeaturesUnavailable as problem:
                read, ages = self._recalled(model.plan, well_formed, problem)
        told = iter(read)
        found = [next(told) if is_video_id(one) else InvalidVideoId(one) for one in video_ids]
        return _checked(model, found, second), ages

    async def _read(self, plan: ReadPlan, video_ids: list[str]) -> list[Found]:
        try:
            read = await self._rows(plan, video_ids)
        finally:
            await self._coalescer.has_read()
        return [
            self._unknown(video_id) if vector is None else vector
            for video_id, vector in zip(video_ids, read, strict=True)
        ]

    async def _rows(self, plan: ReadPlan, video_ids: list[str]) -> list[Found | None]:
        """Read rows together; where one of them is none, each by itself, so that it fails alone."""
        try:
            return [*await self.features.read(plan, video_ids)]
        except LayoutError:
            if len(video_ids) > 1:
                return [row for one in video_ids for row in await self._rows(plan, [one])]
            _log.exception("what the online store holds of %s is no row", video_ids[0])
            return [Problem(FAULT)]

    def _unknown(self, video_id: str) -> UnknownVideo:
        self._recent.forget(video_id)
        return UnknownVideo(video_id)

    def _recalled(
        self, plan: ReadPlan, video_ids: list[str], problem: FeaturesUnavailable
    ) -> tuple[list[Found], _Ages]:
        """Give vectors that were read before, and how long ago; the problem for others."""
        now = asyncio.get_running_loop().time()
        recalled = {one: self._recent.vector(plan, one) for one in video_ids}
        ages = {one: round(now - kept[1], 3) for one, kept in recalled.items() if kept}
        return [kept[0] if (kept := recalled[one]) else problem for one in video_ids], ages

    def _given(self, asked: Circumstances, vectors: Sequence[StoredVector]) -> ModelInput:
        one = vectors[0].values[np.newaxis]  # all there is, mostly: less work than a new array
        values = one if len(vectors) == 1 else np.array([vector.values for vector in vectors])
        given = asked.model.read(values, asked.second)
        self.metrics.count_missing(asked.model.plan.views, given.nulls)
        return given

    def _answered_at_once(
        self, asked: Circumstances, vectors: Sequence[StoredVector], ages: _Ages
    ) -> list[ForecastRecord]:
        if not vectors:
            return []
        given = self._given(asked, vectors)
        counts = counts_told(asked.model, asked.question, given)
        return _composed(asked, vectors, ages, given, counts, range(len(vectors)))

    async def _answered(
        self, asked: Circumstances, vectors: Sequence[StoredVector], ages: _Ages
    ) -> list[ForecastRecord]:
        if len(vectors) <= _ROWS_ON_THE_LOOP:
            return self._answered_at_once(asked, vectors, ages)
        given, answers = self._given(asked, vectors), []
        # The trees let go of the interpreter, so that others are answered meanwhile.
        counts = await asyncio.to_thread(counts_told, asked.model, asked.question, given)
        for first in range(0, len(vectors), _ANSWERS_AT_ONCE):
            rows = range(first, min(first + _ANSWERS_AT_ONCE, len(vectors)))
            answers += _composed(asked, vectors, ages, given, counts, rows)
            await asyncio.sleep(0)
        return answers

    def _remember(
        self, model: LoadedModel, vector: StoredVector, read_at: float, counts: list[float],
        tier: str,
    ) -> None:  # fmt: skip
        """Keep for worse times what was just read."""
        known = KnownCounts(
            vector.channel_id, vector.world, float(vector.values[model.observed_at]),
            vector.event_times, counts, tier,
        )  # fmt: skip
        self._recent.remember(model.plan, vector, read_at, known)

    def _by_curves(
        self, asked: Circumstances, problem: Problem, video_id: str
    ) -> ForecastRecord | Problem:
        """Answer from the bundle's curves, if at least the counts of a video are known."""
        model, known = asked.model, self._recent.counts(video_id)
        if known is None or known.world != model.world or len(known.counts) != len(model.metrics):
            return problem
        as_of = max(asked.second, math.ceil(known.observed_at))
        quantiles = model.curves.quantiles(model.metrics, known, as_of, asked.question.days)
        counts = dict(zip(model.metrics, known.counts, strict=True))
        metrics = metric_answers(model, asked.question, counts, quantiles, as_of)
        seen = Basis(
            video_id, known.channel_id, known.event_times, "fallback_curves", None,
            known.observed_at, known.counts, known.tier, None, model.columns,
        )  # fmt: skip
        return answer(asked, seen, as_of, metrics)


def _composed(
    asked: Circumstances, vectors: Sequence[StoredVector], ages: _Ages, given: ModelInput,
    counts: Sequence[Any], rows: range,
) -> list[ForecastRecord]:  # fmt: skip
    """Compose the answers about some rows."""
    answers = []
    for row in rows:
        vector = vectors[row]
        seen = basis(asked.model, vector, given, row, ages.get(vector.video_id))
        answers.append(answer(asked, seen, given.as_of[row], counts[row]))
    return answers


def _checked(model: LoadedModel, found: Iterable[Found], second: float) -> list[Found]:
    """Take out what is too old; leave a problem where no forecast can honestly be made."""
    checked: list[Found] = []
    for one in found:
        if isinstance(one, StoredVector):
            one = within_age(model.plan, one, second)
            checked.append(_problem(model, one) or one)
        else:
            checked.append(one)
    return checked


def _problem(model: LoadedModel, vector: StoredVector) -> Problem | None:
    times, observed_at = vector.event_times, vector.values[model.observed_at]
    for at in model.needed_views:
        if times[at] != times[at]:  # NaN
            absent = [model.plan.views[at] for at in model.needed_views if times[at] != times[at]]
            return FeaturesIncomplete(vector.video_id, absent)
    if observed_at != observed_at:
        return FeaturesIncomplete(vector.video_id, [PERFORMANCE_VIEW])
    if vector.world != model.world:
        return WorldMismatch(vector.video_id, vector.world, model.world)
    return None


def _vectors(found: Iterable[Found]) -> list[StoredVector]:
    return [one for one in found if isinstance(one, StoredVector)]


def _woven(
    found: Iterable[Found | ForecastRecord], answers: Iterable[ForecastRecord]
) -> list[Outcome]:
    """Put answers where vectors are."""
    told = iter(answers)
    return [next(told) if isinstance(one, StoredVector) else one for one in found]
