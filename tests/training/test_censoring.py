import numpy as np
import pandas as pd
import pytest

from training.censoring import censoring

DAYS = 20_000
PUBLISHED = pd.Timestamp("2024-10-04T00:00:00Z")  # day 20,000 since 1970


def panel_of(growth_listed: float, growth_left: float, n: int) -> pd.DataFrame:
    """Follow n videos that stay on a list and n that leave it over one day."""
    ids = [f"stays-{i}" for i in range(n)] + [f"leaves-{i}" for i in range(n)]
    grown = np.repeat([growth_listed, growth_left], n)
    first = pd.DataFrame({"video_id": ids, "day": DAYS, "views": 999.0})
    second = first.assign(day=DAYS + 1, views=1_000.0 * 10**grown - 1.0)
    return pd.concat([first, second]).assign(published_at=PUBLISHED)


def listed_in(panel: pd.DataFrame) -> pd.MultiIndex:
    keys = panel.loc[panel["video_id"].str.startswith("stays") | (panel["day"] == DAYS)]
    return pd.MultiIndex.from_frame(keys[["video_id", "day"]])


def test_what_is_learnt_from_listed_videos_is_too_much_for_those_that_left():
    panel = panel_of(0.2, 0.05, 40)
    [row] = censoring(panel, listed_in(panel))
    assert (row["horizon_days"], row["n_listed"], row["n_left"]) == (1, 40, 40)
    assert row["growth_listed"] == pytest.approx(0.2)
    assert row["growth_left"] == pytest.approx(0.05)
    assert row["bias_listed"] == pytest.approx(0.0, abs=1e-9)
    assert row["bias_left"] == pytest.approx(0.15)
    assert row["rmse_left"] == pytest.approx(0.15)


def test_too_few_videos_say_nothing():
    panel = panel_of(0.2, 0.05, 20)
    assert censoring(panel, listed_in(panel)) == []


def test_videos_that_were_not_listed_at_first_are_not_asked_about():
    panel = panel_of(0.2, 0.05, 40)
    later_only = listed_in(panel[panel["day"] > DAYS])
    assert censoring(panel, later_only) == []
