"""The use case: video ids and a question -> stored features -> model -> forecasts, logged."""

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from serving.answers import Basis, Circumstances, Question, answer, basis
from serving.champion import Champion
from serving.coalescing import Coalescer
from serving.errors import (
    FeaturesIncomplete,
    FeaturesUnavailable,
    InvalidVideoId,
    ModelUnavailable,
    Problem,
    UnknownVideo,
    WorldMismatch,
)
from serving.fallback import KnownCounts, Recalled, RecentFeatures
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
from serving.video_ids import is_video_id

Outcome = ForecastRecord | Problem

_ROWS_ON_THE_LOOP = 64
_ANSWERS_AT_ONCE = 50


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
        self._coalescer: Coalescer[Question, Outcome] = Coalescer(self.forecast)

    @property
    def remembers(self) -> bool:
        """Whether some videos can be forecast without the online store."""
        return len(self._recent) > 0

    async def forecast_one(self, video_id: str, question: Question) -> Outcome:
        """Forecast one video, together with others that are asked for at the same moment."""
        return await self._coalescer.answer(video_id, question)

    async def forecast(self, video_ids: Sequence[str], question: Question) -> list[Outcome]:
        """Forecast videos: one read, one inference; a forecast or a problem per id, in order."""
        started = perf_counter()
        try:
            outcomes = await self._forecast(video_ids, question)
        except ModelUnavailable as problem:
            outcomes = [problem] * len(video_ids)
        for outcome in outcomes:
            if isinstance(outcome, ForecastRecord):
                self.log.append(outcome)
        self.metrics.count_forecasts(map(_outcome, outcomes))
        self.metrics.duration.observe(perf_counter() - started)
        return outcomes

    async def look(self, video_id: str) -> Look:
        """Read a video as the model does, without a forecast.

        Raises:
            Problem: There is no model, or no honest look at the video.
        """
        model, directory = self.champion.model(), self.champion.directory
        assert directory is not None  # a model came from somewhere
        if not is_video_id(video_id):
            raise InvalidVideoId(video_id)
        asked_at = self._now().timestamp()
        (found,) = await self._found(model, [video_id], asked_at)
        if isinstance(found, Problem):
            raise found
        given = model.read(found.vector.values[np.newaxis], float(math.floor(asked_at)))
        moment = datetime.fromtimestamp(given.as_of[0], UTC)
        return Look(model, directory, found.vector, given, moment)

    def circumstances(self, model: LoadedModel, question: Question) -> Circumstances:
        """Give what holds for every answer of a request that is made now."""
        asked_at = self._now()
        return Circumstances(
            model,
            self.champion.is_confirmed,
            question,
            asked_at,
            asked_at.timestamp(),
            self.max_age_seconds,
        )

    async def _forecast(self, video_ids: Sequence[str], question: Question) -> list[Outcome]:
        model = self.champion.model()
        asked = self.circumstances(model, question)
        found = await self._found(model, video_ids, asked.now)
        answers = iter(
            await self._answers(asked, [one for one in found if isinstance(one, Recalled)])
        )
        return [
            next(answers) if isinstance(one, Recalled)
            else self._by_curves(asked, one, video_id) if isinstance(one, FeaturesUnavailable)
            else one
            for video_id, one in zip(video_ids, found, strict=True)
        ]  # fmt: skip

    async def _found(
        self, model: LoadedModel, video_ids: Sequence[str], asked_at: float
    ) -> list[Recalled | Problem]:
        """Read videos; of those the store does not give now, recall what it gave last."""
        well_formed = [video_id for video_id in video_ids if is_video_id(video_id)]
        read = iter(await self._recalled(model, well_formed, float(math.floor(asked_at))))
        if len(well_formed) == len(video_ids):
            return list(read)
        return [next(read) if is_video_id(one) else InvalidVideoId(one) for one in video_ids]

    async def _recalled(
        self, model: LoadedModel, video_ids: list[str], asked_at: float
    ) -> list[Recalled | Problem]:
        if not video_ids:
            return []
        now = asyncio.get_running_loop().time()
        try:
            held = self.features.held(model.plan, video_ids)
            stored = held or await self._read(model.plan, video_ids)
        except FeaturesUnavailable as problem:
            recalled = [self._recent.vector(model.plan, video_id) for video_id in video_ids]
            return [
                _checked(model, video_id, one, asked_at) if one else problem
                for video_id, one in zip(video_ids, recalled, strict=True)
            ]
        checked: list[Recalled | Problem] = []
        for video_id, vector in zip(video_ids, stored, strict=True):
            if vector is None:
                self._recent.forget(video_id)
                checked.append(UnknownVideo(video_id))
            else:
                read = Recalled(vector, now, is_fresh=True)
                checked.append(_checked(model, video_id, read, asked_at))
        return checked

    async def _read(self, plan: ReadPlan, video_ids: list[str]) -> list[StoredVector | None]:
        try:
            return await self.features.read(plan, video_ids)
        finally:
            await self._coalescer.has_read()

    async def _answers(self, asked: Circumstances, found: list[Recalled]) -> list[ForecastRecord]:
        if not found:
            return []
        model = asked.model
        values = np.array([one.vector.values for one in found])
        given = model.read(values, float(math.floor(asked.now)))
        self.metrics.count_missing(model.plan.views, given.nulls)
        days = asked.question.days
        if len(found) <= _ROWS_ON_THE_LOOP:
            quantiles = model.counts_ahead(given, days)
        else:  # the trees let go of the interpreter, so that others are answered meanwhile
            quantiles = await asyncio.to_thread(model.counts_ahead, given, days)
        answers = []
        for row, one in enumerate(found):
            if row and row % _ANSWERS_AT_ONCE == 0:
                await asyncio.sleep(0)
            seen = self._basis(model, one, given, row)
            answers.append(answer(asked, seen, given.as_of[row], quantiles[row]))
        return answers

    def _basis(self, model: LoadedModel, one: Recalled, given: ModelInput, row: int) -> Basis:
        vector = one.vector
        if not one.is_fresh:
            age = asyncio.get_running_loop().time() - one.read_at
            return basis(model, vector, given, row, round(age, 3))
        seen = basis(model, vector, given, row, None)
        known = KnownCounts(
            vector.channel_id, vector.world, seen.observed_at, vector.event_times,
            tuple(seen.counts), seen.tier,
        )  # fmt: skip
        self._recent.remember(model.plan, one, known)
        return seen

    def _by_curves(
        self, asked: Circumstances, problem: Problem, video_id: str
    ) -> ForecastRecord | Problem:
        """Answer from the bundle's curves, if at least the counts of a video are known."""
        model, known = asked.model, self._recent.counts(video_id)
        if known is None or known.world != model.world or len(known.counts) != len(model.metrics):
            return problem
        as_of = max(float(math.floor(asked.now)), math.ceil(known.observed_at))
        quantiles = model.curves.quantiles(model.metrics, known, as_of, asked.question.days)
        seen = Basis(
            video_id, known.channel_id, known.event_times, "fallback_curves", None,
            known.observed_at, known.counts, known.tier, None, model.columns,
        )  # fmt: skip
        return answer(asked, seen, as_of, quantiles)


def _checked(model: LoadedModel, video_id: str, one: Recalled, now: float) -> Recalled | Problem:
    """Tell whether a forecast can honestly be made of what is stored and not too old."""
    vector = within_age(model.plan, one.vector, now)
    if vector is not one.vector:
        one = one._replace(vector=vector)
    times = vector.event_times
    absent = [model.plan.views[at] for at in model.needed_views if times[at] != times[at]]  # NaN
    observed_at = vector.values[model.observed_at]
    if absent or observed_at != observed_at:
        return FeaturesIncomplete(video_id, absent or [PERFORMANCE_VIEW])
    if vector.world != model.world:
        return WorldMismatch(video_id, vector.world, model.world)
    return one


def _outcome(outcome: Outcome) -> str:
    if isinstance(outcome, Problem):
        return outcome.code
    return "degraded" if outcome.degraded else "answered"
