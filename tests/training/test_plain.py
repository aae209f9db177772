"""The plain LightGBM that ours is measured by."""

import numpy as np
import pandas as pd

from foreview.recorded import list_facts
from tests.training.sets import grown
from training.baselines import szabo_huberman_by_age
from training.plain import beside_plain, plain_lightgbm


def on_days(some, days):
    """Ask for whole days only, as the protocol does."""
    random = np.random.default_rng(len(some.labels))
    return some._replace(
        labels=some.labels.assign(horizon_days=random.choice(days, len(some.labels)))
    )


def facts_of(some, position):
    keys = [some.rows["video_id"], some.rows["event_timestamp"].dt.floor("D")]
    return pd.DataFrame(
        {"best_position": position, "lists": 1}, index=pd.MultiIndex.from_arrays(keys)
    )


def error(scored, asked):
    return float(np.sqrt(np.mean((scored.median["views"] - asked.truth("views")) ** 2)))


def test_it_learns_per_horizon_from_the_questions_of_the_protocol():
    fitted_on, asked = (on_days(grown(900, seed), [1.0, 7.0]) for seed in (1, 2))
    plain = plain_lightgbm(fitted_on, asked, None, 0)
    present = asked.present["views"][asked.labels["row"]]
    usual = szabo_huberman_by_age(fitted_on, "views")(asked)
    assert plain.is_baseline
    assert error(plain, asked) < float(
        np.sqrt(np.mean((present + usual - asked.truth("views")) ** 2))
    )


def test_it_reads_where_a_video_stood_on_the_day_it_is_asked_about():
    random = np.random.default_rng(3)
    sets, tables = [], []
    for seed in (1, 2):
        some = on_days(grown(900, seed), [1.0])
        some = some._replace(rows=some.rows.assign(video_id=some.rows["video_id"] + f"-{seed}"))
        position = random.integers(1, 51, len(some.rows))
        grows = position[some.labels["row"]] / 50.0
        sets.append(some._replace(labels=some.labels.assign(views=grows)))
        tables.append(facts_of(some, position))
    facts = pd.concat(tables)
    days = facts.index.levels[1] + pd.Timedelta("1D")
    the_day_after = facts.set_axis(facts.index.set_levels(days, level=1))
    assert error(plain_lightgbm(*sets, facts, 0), sets[1]) < 0.05
    assert error(plain_lightgbm(*sets, the_day_after, 0), sets[1]) > 0.2


def test_a_horizon_with_few_labels_grows_as_others_at_its_age_do():
    fitted_on, asked = on_days(grown(20, 1), [1.0]), on_days(grown(50, 2), [1.0])
    plain = plain_lightgbm(fitted_on, asked, None, 0)
    growth = plain.median["views"] - asked.present["views"][asked.labels["row"]]
    np.testing.assert_allclose(growth, szabo_huberman_by_age(fitted_on, "views")(asked))


def test_facts_of_lists_are_the_best_position_and_the_number_of_lists_of_a_day(tmp_path):
    noon = pd.Timestamp("2026-01-05T11:20:00Z")
    rows = [("JP", "a", 7, noon), ("US", "a", 3, noon), ("US", "a", 9, noon + pd.Timedelta("1D"))]
    frame = pd.DataFrame(rows, columns=["country", "video_id", "position", "observed_at"])
    frame.to_parquet(tmp_path / "snapshots.parquet")
    found = list_facts(tmp_path, None)
    assert found.loc[("a", noon.floor("D"))].tolist() == [3, 2]
    assert found.loc[("a", noon.floor("D") + pd.Timedelta("1D"))].tolist() == [9, 1]
    assert list_facts(tmp_path / "elsewhere") is None


def test_people_are_told_the_error_by_plain_lightgbms_at_each_horizon():
    where = {"situation": "published", "subset": "all", "metric": "views", "n": 500}
    scores = [("lightgbm", 1, 0.09), ("plain_lightgbm", 1, 0.1), ("lightgbm", 7, 0.2)]
    rows = [where | {"model": m, "horizon_days": d, "rmse_log10": e} for m, d, e in scores]
    assert beside_plain(rows) == "RMSE of views by plain LightGBM's: all +1 d 0.900"
    assert beside_plain(rows[:1]) == ""
