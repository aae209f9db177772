"""The synthetic world's distributions held against YouTube's, each within a tolerance it declares.

Views, ratios, formats and uploads are compared with all videos of some 130 channels, growth with
trending videos, which are winners: theirs is faster, and the tolerance is wider for it.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ingestion.emulator.videos import PLAIN
from ingestion.emulator.world import World, synthetic_world
from ingestion.parsing import duration_seconds

SHARED = Path(os.environ.get("FOREVIEW_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (SHARED / "videos_2026-01.csv.gz").is_file(),
    reason=f"needs the recorded YouTube data in {SHARED}, which is not there",
)
END = datetime(2026, 6, 1, tzinfo=UTC)
QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]
# Hours of age, and by how many decades views grow in the next 24 h.
AGES = [(6, 18), (18, 30), (30, 54), (54, 102), (102, 198)]


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(7, days=120, channels=120, end=END)


@pytest.fixture(scope="module")
def plain(world: World) -> np.ndarray:
    """Ordinary videos of which the first thirty days are in the world."""
    of = world.videos
    young = of.published_at < END.timestamp() - 31 * 86400
    born = of.published_at > world.start.timestamp()
    return np.flatnonzero(born & young & (of.broadcast == PLAIN) & ~of.lacks_statistics)


@pytest.fixture(scope="module")
def real() -> pd.DataFrame:
    """All videos of some channels, at least three days old."""
    told = pd.read_csv(SHARED / "videos_2026-01.csv.gz")
    seen, published = (pd.to_datetime(told[c], utc=True) for c in ("snapshot_utc", "published_at"))
    told["seconds"] = [duration_seconds(str(text)) for text in told["duration_iso8601"]]
    return told[seen - published > pd.Timedelta(days=3)]


@pytest.fixture(scope="module")
def made(world: World, plain: np.ndarray) -> pd.DataFrame:
    """The same columns of the synthetic world, at an age of thirty days."""
    of, curves = world.videos, world.videos.curves
    at = of.started_at[plain] + 30 * 86400
    counts = {
        f"{name}_count": [float(count(np.array([v]), t)[0]) for v, t in zip(plain, at, strict=True)]
        for name, count in (
            ("view", curves.views), ("like", curves.likes), ("comment", curves.comments)
        )
    }  # fmt: skip
    made = pd.DataFrame({"channel_id": of.channel[plain], **counts})
    made["seconds"] = of.duration_seconds[plain]
    made.loc[of.hides_likes[plain], "like_count"] = np.nan
    made.loc[of.comments_off[plain], "comment_count"] = np.nan
    return made


def _quantiles(values: pd.Series) -> np.ndarray:
    return np.quantile(values.dropna(), QUANTILES)


def _log_views(videos: pd.DataFrame) -> pd.Series:
    return np.log10(1 + videos["view_count"])


def _log_ratio(videos: pd.DataFrame, name: str) -> pd.Series:
    seen = videos[videos["view_count"] > 1000]
    return np.log10((seen[f"{name}_count"] / seen["view_count"]).replace(0, np.nan))


def _spread(quantiles: np.ndarray) -> float:
    return float(quantiles[-1] - quantiles[0])


def test_views_have_a_tail_as_heavy(real: pd.DataFrame, made: pd.DataFrame) -> None:
    theirs, ours = _quantiles(_log_views(real)), _quantiles(_log_views(made))
    assert abs(ours[2] - theirs[2]) < 0.5
    assert _spread(ours) == pytest.approx(_spread(theirs), rel=0.3)
    assert ours[4] - ours[2] > 1.0  # the top twentieth has ten times the views of the middle


def test_channels_differ_as_much_and_their_videos_too(
    real: pd.DataFrame, made: pd.DataFrame
) -> None:
    def parts(videos: pd.DataFrame) -> tuple[float, float]:
        by = _log_views(videos).groupby(videos["channel_id"])
        big = by.size() >= 8
        return float(by.mean()[big].std()), float(by.std()[big].median())

    (between, within), (ours_between, ours_within) = parts(real), parts(made)
    assert ours_between == pytest.approx(between, rel=0.35)
    assert ours_within == pytest.approx(within, rel=0.45)


@pytest.mark.parametrize(("name", "middle"), [("like", 0.2), ("comment", 0.35)])
def test_likes_and_comments_are_as_many(
    real: pd.DataFrame, made: pd.DataFrame, name: str, middle: float
) -> None:
    theirs, ours = (_quantiles(_log_ratio(videos, name)) for videos in (real, made))
    assert abs(ours[2] - theirs[2]) < middle
    assert _spread(ours) == pytest.approx(_spread(theirs), rel=0.45)


def test_as_much_is_hidden(real: pd.DataFrame, made: pd.DataFrame, world: World) -> None:
    for name in ("like_count", "comment_count"):
        theirs, ours = real[name].isna().mean(), made[name].isna().mean()
        assert abs(ours - theirs) < 0.04
        assert ours > 0
    assert 0 < np.mean([c.hides_subscribers for c in world.channels.each]) < 0.15


def test_formats_are_mixed_alike(real: pd.DataFrame, made: pd.DataFrame) -> None:
    shares = [float((videos["seconds"] <= 180).mean()) for videos in (real, made)]
    assert abs(shares[0] - shares[1]) < 0.15
    longer = [v.loc[v["seconds"] > 180, "seconds"].median() for v in (real, made)]
    assert longer[1] == pytest.approx(longer[0], rel=0.5)
    by_channel = [(v["seconds"] <= 180).groupby(v["channel_id"]).mean() for v in (real, made)]
    for chosen in (lambda s: s < 0.1, lambda s: s > 0.9):  # channels of one format alone
        assert abs(chosen(by_channel[0]).mean() - chosen(by_channel[1]).mean()) < 0.25


def test_subscribers_are_spread_alike(world: World) -> None:
    told = pd.read_csv(SHARED / "channel_daily.csv.gz").groupby("channel_id").last()
    theirs = _quantiles(np.log10(1 + told["subscribers"]))
    ours = _quantiles(pd.Series(np.log10(1 + world.channels.subscribers)))
    assert abs(ours[2] - theirs[2]) < 0.5
    assert _spread(ours) == pytest.approx(_spread(theirs), rel=0.35)


@pytest.fixture(scope="module")
def growth() -> pd.DataFrame:
    """Age in hours, and growth of views in decades a day, of trending videos."""
    rows = pd.read_parquet(
        SHARED / "snapshots.parquet", columns=["video_id", "observed_at", "view_count"]
    )
    born = pd.read_parquet(
        SHARED / "video_versions.parquet", columns=["video_id", "published_at"]
    ).drop_duplicates("video_id")
    rows = rows.drop_duplicates(["video_id", "observed_at"]).merge(born, on="video_id")
    seen = pd.to_datetime(rows["observed_at"], utc=True)
    rows["age"] = (seen - pd.to_datetime(rows["published_at"], utc=True)) / pd.Timedelta(hours=1)
    rows = rows.sort_values(["video_id", "age"])
    after = rows.groupby("video_id")[["age", "view_count"]].shift(-1)
    rows["growth"] = np.log10((1 + after["view_count"]) / (1 + rows["view_count"]))
    daily = (after["age"] - rows["age"]).between(21, 27) & (rows["view_count"] > 100)
    return rows.loc[daily, ["age", "growth"]].dropna()


@pytest.fixture(scope="module")
def grown(world: World, plain: np.ndarray) -> pd.DataFrame:
    """The same of the synthetic world, at random ages."""
    random, of = np.random.default_rng(1), world.videos
    ages = random.uniform(6, 198, len(plain))
    views = [
        [
            float(of.curves.views(np.array([v]), of.started_at[v] + 3600 * (age + later))[0])
            for v, age in zip(plain, ages, strict=True)
        ]
        for later in (0, 24)
    ]
    made = pd.DataFrame({"age": ages, "before": views[0], "after": views[1]})
    made["growth"] = np.log10((1 + made["after"]) / (1 + made["before"]))
    return made[made["before"] > 100]


@pytest.mark.parametrize("ages", AGES)
def test_views_grow_at_a_like_pace(
    growth: pd.DataFrame, grown: pd.DataFrame, ages: tuple[int, int]
) -> None:
    theirs, ours = (
        np.quantile(one.loc[one["age"].between(*ages), "growth"], [0.1, 0.5, 0.9])
        for one in (growth, grown)
    )
    assert theirs[1] / 2.6 < ours[1] < theirs[1] * 1.1  # winners grow faster
    assert (theirs[2] - theirs[0]) / 3.5 < ours[2] - ours[0] < (theirs[2] - theirs[0]) * 1.1


def test_counts_are_corrected_downwards_as_rarely(
    growth: pd.DataFrame, world: World, plain: np.ndarray
) -> None:
    theirs = (growth.loc[growth["age"].between(6, 198), "growth"] < 0).mean()
    corrected_age = world.videos.curves.corrected_age[plain]
    steps = len(plain) * (198 - 6) / 24
    ours = np.sum((corrected_age > 6) & (corrected_age < 198)) / steps
    assert theirs / 10 < ours < theirs * 5
