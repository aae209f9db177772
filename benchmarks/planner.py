"""The planner beside naive schedules at equal units: labels covered, and how well one forecasts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion import planner
from ingestion.emulator.videos import PLAIN
from ingestion.emulator.world import World, synthetic_world
from ingestion.targets import Target

HOUR = timedelta(hours=1)
END = datetime(2026, 6, 1, tzinfo=UTC)
VIDEOS, ASKS, HORIZONS = 400, 6, (1, 3, 7)
FOUND_AFTER_HOURS, LAST_AGE_HOURS = 3.0, 30 * 24.0
SEED = 7
_MOMENT_HOURS = 1e-6

FloatArray = NDArray[np.float64]
# Ages in hours at which a video is looked at, given those at which forecasts meet the truth.
Schedule = Callable[[int, FloatArray], FloatArray]


def measure() -> list[dict[str, Any]]:
    """Give a row per schedule; all make as many looks as the planner does, in all."""
    world = synthetic_world(SEED, days=80, channels=60, end=END)
    random = np.random.default_rng(SEED)
    videos = _videos(world, random)
    asked = random.uniform(6, 20 * 24, (len(videos), ASKS))
    labels = np.sort((asked[:, :, None] + 24.0 * np.array(HORIZONS)).reshape(len(videos), -1))
    planned = [_planned(world, int(v), due) for v, due in zip(videos, labels, strict=True)]
    each = sum(map(len, planned)) / len(planned)
    schedules: dict[str, list[FloatArray]] = {
        "planner": planned,
        "even intervals": [_even(each) for _ in videos],
        "newest first": [_newest(each) for _ in videos],
        "at random": [_random(each, random) for _ in videos],
    }
    return [_judged(name, looks, world, videos, asked) for name, looks in schedules.items()]


def _videos(world: World, random: np.random.Generator) -> NDArray[np.int64]:
    """Choose plain videos whose first thirty days are all in the world."""
    of = world.videos
    born = (of.published_at > world.start.timestamp()) & (
        of.published_at < (END - timedelta(days=31)).timestamp()
    )
    whole = born & (of.broadcast == PLAIN) & np.isinf(of.deleted_at)
    return random.choice(np.flatnonzero(whole), VIDEOS, replace=False)


def _views(world: World, video: int, ages: FloatArray) -> FloatArray:
    start, index = world.videos.started_at[video], np.array([video])
    curves = world.videos.curves
    return np.array([curves.views(index, start + 3600 * age)[0] for age in ages], dtype=float)


def _planned(world: World, video: int, labels: FloatArray) -> FloatArray:
    """Let the planner itself say when a video is due, labels included."""
    published = datetime.fromtimestamp(world.videos.started_at[video], UTC)
    age, looks = FOUND_AFTER_HOURS, []
    target = Target("video", "v", "synthetic", published, published, published_at=published)
    while age < LAST_AGE_HOURS:
        looks.append(age)
        views = int(_views(world, video, np.array([age]))[0])
        at = published + timedelta(hours=age)
        target = planner.observed(target, at, views)
        due = (target.next_due_at - published) / HOUR
        asked = (planner.label_look(published + h * HOUR, at, published) for h in labels.tolist())
        ahead = [(look - published) / HOUR for look in asked if look is not None]
        # A look that a label asks for too late is of no use to it.
        age = min([due, *(hours for hours in ahead if hours > age)])
    return np.array(looks)


def _even(looks: float) -> FloatArray:
    return np.linspace(FOUND_AFTER_HOURS, LAST_AGE_HOURS, round(looks))


def _newest(looks: float) -> FloatArray:
    """Look every hour while there are units, and never again."""
    return FOUND_AFTER_HOURS + np.arange(round(looks), dtype=float)


def _random(looks: float, random: np.random.Generator) -> FloatArray:
    return np.sort(random.uniform(FOUND_AFTER_HOURS, LAST_AGE_HOURS, round(looks)))


def _judged(
    name: str, looks: list[FloatArray], world: World, videos: NDArray[np.int64], asked: FloatArray
) -> dict[str, Any]:
    covered, questions = 0, 0
    errors: list[float] = []
    growth = _mean_growth(world, videos)
    for video, at, ages in zip(videos, looks, asked, strict=True):
        counts = np.log10(1 + _views(world, int(video), at))
        for age in ages:
            before = at <= age
            for days in HORIZONS:
                moment = age + 24 * days
                questions += 1
                covered += _has_label(at, moment)
                if before.any():
                    last = int(np.flatnonzero(before)[-1])
                    truth = np.log10(1 + _views(world, int(video), np.array([moment]))[0])
                    foreseen = counts[last] + growth(moment) - growth(at[last])
                    errors.append(float(foreseen - truth))
    return {
        "schedule": name,
        "looks": sum(map(len, looks)),
        "labels covered": round(covered / questions, 3),
        "RMSE of log10 views": round(float(np.sqrt(np.mean(np.square(errors)))), 4),
        "questions without any look before": questions - len(errors),
    }


def _has_label(looks: FloatArray, moment: float) -> bool:
    """Tell whether a count can be read at an age: in a bracket of 6 h or a quarter of the age."""
    after = int(np.searchsorted(looks, moment - _MOMENT_HOURS))
    if after < len(looks) and looks[after] <= moment + _MOMENT_HOURS:
        return True
    if after in (0, len(looks)):
        return False
    return bool(looks[after] - looks[after - 1] <= max(6.0, moment / 4))


def _mean_growth(world: World, videos: NDArray[np.int64]) -> Callable[[float], float]:
    """Give the mean log views at an age: the one-shift forecast of Szabo and Huberman, by age."""
    ages = np.concatenate([np.arange(1, 48, 2.0), np.arange(48, 31 * 24, 12.0)])
    curves = [np.log10(1 + _views(world, int(video), ages)) for video in videos[:150]]
    mean = np.mean(curves, axis=0)
    return lambda age: float(np.interp(age, ages, mean))
