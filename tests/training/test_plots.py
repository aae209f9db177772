"""What plots show is what they say."""

from tests.training.sets import few_trees, grown
from training.estimators import fit_lightgbm, predict
from training.evaluation import with_intervals
from training.intervals import calibrate
from training.judging import MODEL, Judged
from training.plots import FANS, fans


def test_fans_are_of_videos_that_differ():
    """Of one that was asked about on many days, the days are no other videos."""
    seen, asked = grown(300, 1), grown(200, 2)
    asked.rows["video_id"] = [f"v{row // 20}" for row in range(len(asked.rows))]
    boosters = fit_lightgbm(seen, few_trees())
    growth = {metric: predict(booster, asked) for metric, booster in boosters.items()}
    intervals = calibrate(seen, {m: predict(b, seen) for m, b in boosters.items()}, 20)
    judged = Judged(asked, with_intervals(asked, growth, intervals, MODEL), [], [])
    titles = [panel.get_title() for panel in fans(judged).axes]
    assert len(set(titles)) == FANS
