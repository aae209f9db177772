import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from psycopg.rows import dict_row
from sqlalchemy import Engine, text

from feature_repo.clock import fixed_clock
from observability import pipeline
from observability.database import Connection, connected
from observability.outcomes import COLUMNS, _write, judge_due, refresh_scorecard
from tests.worlds import DAY, HOUR, NOON, snapshot, store, version, world

Log = Callable[..., UUID]
# Noon of a day has a look; with looks every six hours all that is asked about is known.
DUE = NOON + 7 * DAY


def looks_at(
    video_id: str, *hours: float, views: Callable[[float], int | None], **columns: Any
) -> list[Any]:
    return [snapshot(video_id, NOON + hour * HOUR, views(hour), **columns) for hour in hours]


def watched(engine: Engine, video_id: str = "v", until: int = 8, **columns: Any) -> None:
    """A video seen every six hours until a day, gaining a thousand views a day."""
    hours = range(-6, until * 24 + 1, 6)
    rows = looks_at(video_id, *hours, views=lambda hour: 1000 + round(hour * 1000 / 24), **columns)
    told = version(video_id, NOON - 6 * HOUR, "UC-1")
    store(engine, world([told], rows))


def outcome(database: Connection, forecast_id: UUID, days: int = 7) -> dict[str, Any]:
    with database.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            "SELECT * FROM forecast_outcomes WHERE forecast_id = %s AND horizon_days = %s",
            [forecast_id, days],
        ).fetchone()
    return found or {}


def test_a_forecast_meets_the_truth_when_its_horizon_closes(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    watched(warehouse)
    forecast_id = log_forecast("v", NOON, (1, 1500, 2000, 2500), (7, 5000, 7000, 7900))
    assert judge_due(database, NOON + 1 * DAY - HOUR) == {}
    assert judge_due(database, NOON + 1 * DAY + HOUR) == {"scored": 1}
    assert judge_due(database, NOON + 8 * DAY) == {"scored": 1}
    found = outcome(database, forecast_id)
    assert (found["status"], found["observed_count"]) == ("scored", 8000.0)
    assert (found["tier"], found["format"], found["current_count"]) == ("1e3", "long", 1000)
    assert (found["is_covered"], found["is_late"], found["due_at"]) == (False, False, DUE)


def test_two_runs_that_find_forecasts_in_other_orders_do_not_lock_each_other_out(
    database_url: str, schema: str
) -> None:
    known = {
        "metric": "views", "horizon_days": 1, "world": "real", "situation": "published",
        "model_version": "1", "model_digest": "d", "video_id": "v", "channel_id": "c",
        "tier": "1e3", "format": "short", "as_of": NOON, "due_at": DUE, "current_count": 1,
        "p10": 1, "p50": 2, "p90": 3, "is_degraded": False, "status": "waiting", "scored_at": NOON,
    }  # fmt: skip
    rows = [
        tuple((known | {"forecast_id": UUID(int=number)}).get(name) for name in COLUMNS)
        for number in range(20_000)
    ]

    def write(order: int) -> None:
        with connected(database_url, schema) as connection:
            _write(connection, rows[::order])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (1, -1)))


def test_judging_again_changes_nothing(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    watched(warehouse)
    forecast_id = log_forecast("v", NOON, (7, 5000, 7000, 9000))
    judge_due(database, NOON + 8 * DAY)
    before = outcome(database, forecast_id)
    assert judge_due(database, NOON + 9 * DAY) == {}
    assert outcome(database, forecast_id) == before


def test_late_rows_turn_waiting_and_never_into_a_late_truth(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    watched(warehouse, until=6)
    forecast_id = log_forecast("v", NOON, (7, 5000, 7000, 9000))
    assert judge_due(database, DUE + HOUR) == {"waiting": 1}
    store(warehouse, world([], looks_at("v", 9 * 24, views=lambda _: 9900)))
    assert judge_due(database, DUE + 3 * DAY) == {"never": 1}  # three days are no bracket
    late = looks_at("v", 7 * 24 - 1, 7 * 24 + 1, views=lambda _: 8000, ingested_at=DUE + 4 * DAY)
    store(warehouse, world([], late))
    assert judge_due(database, DUE + 5 * DAY) == {"scored": 1}
    found = outcome(database, forecast_id)
    assert (found["is_late"], found["known_at"]) == (True, DUE + 4 * DAY)


def test_a_forecast_without_a_truth_is_given_up_after_a_week(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    watched(warehouse, until=6)
    log_forecast("v", NOON, (7, 5000, 7000, 9000))
    assert judge_due(database, DUE + 6 * DAY) == {"waiting": 1}
    assert judge_due(database, DUE + 8 * DAY) == {"never": 1}
    assert judge_due(database, DUE + 9 * DAY) == {}


def test_a_deleted_video_and_hidden_likes_are_counted_as_such(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    watched(warehouse, "gone", until=5)
    watched(warehouse, "shy", like_count=None)
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO collection_targets (kind, target_id, added_at, next_due_at, gone_at, "
                "world) VALUES ('video', 'gone', :at, :at, :at, 'synthetic')"
            ),
            {"at": NOON},
        )
    log_forecast("gone", NOON, (7, 5000, 7000, 9000))
    log_forecast("shy", NOON, (7, 5, 7, 9), metric="likes", current=None)
    assert judge_due(database, DUE + DAY) == {"deleted": 1, "hidden": 1}


def test_a_number_that_was_not_answered_has_no_outcome(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    watched(warehouse)
    log_forecast("v", NOON, (7, None, None, None))
    assert judge_due(database, DUE + DAY) == {}


def test_a_view_that_is_counted_anew_gives_no_truth(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    watched(warehouse, until=6)
    rows = looks_at("v", 167, 169, views=lambda _: 8000, view_definition="views_3")
    store(warehouse, world([], rows))
    log_forecast("v", NOON, (7, 5000, 7000, 9000))
    assert judge_due(database, DUE + DAY) == {"view_definition_changed": 1}


def test_a_truth_is_found_though_the_look_that_the_forecast_started_from_was_purged(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    """It is older than the receipt. What a view was then goes by the format and the moment."""
    for video_id, definition in (("same", "views_1"), ("anew", "views_3")):
        kept = looks_at(
            video_id, *range(6, 200, 6),
            views=lambda hour: round(1000 + hour), view_definition=definition,
        )  # fmt: skip
        store(warehouse, world([version(video_id, NOON - 6 * HOUR, "UC-1")], kept))
        log_forecast(video_id, NOON, (7, 1100, 1168, 1200))
    assert judge_due(database, DUE + DAY) == {"scored": 1, "view_definition_changed": 1}


def test_a_draft_meets_what_became_of_the_video_that_it_turned_into(
    warehouse: Engine, database: Connection, log_forecast: Log
) -> None:
    """By its channel and title, published near the plan and after it was asked about."""
    published, planned = NOON + 3 * DAY, NOON + 2 * DAY
    told = version("v", published + HOUR, "UC-1", title="Ours", published_at=published)
    looks = looks_at("v", *range(73, 300, 6), views=lambda hour: 100 * round(hour - 72))
    store(warehouse, world([told], looks))

    def draft(title: str, asked_at: datetime = NOON, channel_id: str = "UC-1") -> UUID:
        return log_forecast(
            None, planned, (7, 10_000, 15_000, 20_000), current=None, asked_at=asked_at,
            situation="draft", channel_id=channel_id,
            request=orjson.dumps({"draft": {"title": title}}).decode(),
        )  # fmt: skip

    ours = draft("Ours")
    draft("Another title")
    draft("Ours", channel_id="UC-2")
    draft("Ours", asked_at=published + HOUR)  # its own first views may be known then
    assert judge_due(database, published + 7 * DAY - HOUR) == {}
    assert judge_due(database, published + 8 * DAY) == {"scored": 1}
    found = outcome(database, ours)
    assert (found["video_id"], found["due_at"]) == ("v", published + 7 * DAY)
    assert found["observed_count"] == pytest.approx(16_800, rel=0.01)
    assert (found["is_covered"], found["format"]) == (True, "long")
    assert found["persistence_error_log10"] is None


def test_a_run_begins_where_the_last_one_left_off_and_misses_nothing(
    warehouse: Engine, database: Connection, log_forecast: Log, database_url: str, schema: str
) -> None:
    watched(warehouse)
    first = log_forecast("v", NOON, (1, 1, 2, 3), (7, 5000, 7000, 9000))

    def run(now: datetime) -> dict[str, int]:
        return pipeline.outcomes(database_url, schema, fixed_clock(now))

    assert run(NOON + 2 * DAY) == {"scored": 1}
    belated = log_forecast("v", NOON + HOUR, (1, 1, 2, 3))  # logged after the run, asked before
    assert run(DUE + DAY) == {"scored": 2}
    assert run(DUE + 40 * DAY) == {}
    assert outcome(database, first)["status"] == outcome(database, belated, 1)["status"] == "scored"
    runs = database.execute("SELECT job, outcome, rows FROM job_runs ORDER BY run_id").fetchall()
    assert runs[1] == ("outcomes", "succeeded", {"read": 2, "scored": 2})


@pytest.fixture
def many(warehouse: Engine, log_forecast: Log) -> None:
    """Ninety forecasts of three videos by two models, some without a truth."""
    draw = random.Random(7)
    for video_id, until in (("a", 8), ("b", 8), ("c", 5)):
        watched(warehouse, video_id, until)
    for number in range(90):
        as_of = NOON + draw.random() * 20 * HOUR
        p50 = draw.randrange(2000, 12_000)
        log_forecast(
            "abc"[number % 3],
            as_of,
            (7, p50 // 2, p50, p50 * 2),
            model_version=str(1 + number % 2),
            vector='{"tier": "%s"}' % ("1e3" if number % 5 else "1e4"),
        )


# Written by hand over the log and the snapshots: every look is on a six-hour grid.
BY_HAND = """
    WITH asked AS (
        SELECT video_id, model_version, vector->>'tier' AS tier, as_of + interval '7 days' AS due,
            (answer->'metrics'->'views'->'forecasts'->0->>'p10')::float AS p10,
            (answer->'metrics'->'views'->'forecasts'->0->>'p50')::float AS p50,
            (answer->'metrics'->'views'->'forecasts'->0->>'p90')::float AS p90
        FROM forecast_log
    ), met AS (
        SELECT asked.*, extract(epoch FROM due - low.observed_at) / 21600.0 AS share,
            ln(1 + low.view_count) AS low, ln(1 + high.view_count) AS high
        FROM asked
        JOIN video_snapshots low ON low.video_id = asked.video_id AND low.observed_at <= due
            AND low.observed_at > due - interval '6 hours'
        JOIN video_snapshots high ON high.video_id = asked.video_id
            AND high.observed_at = low.observed_at + interval '6 hours'
    ), judged AS (
        SELECT *, exp(low + (high - low) * share::float) - 1 AS truth FROM met
    )
    SELECT count(*), avg(abs(log(1 + truth) - log(1 + p50))),
        avg((round(truth) BETWEEN p10 AND p90)::int)::float,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(p50 - truth) / truth)
    FROM judged WHERE (%(model)s = 'all' OR model_version = %(model)s)
        AND (%(tier)s = 'all' OR tier = %(tier)s)
"""


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(("model", "tier"), [("all", "all"), ("2", "all"), ("1", "1e3")])
def test_the_scorecard_is_what_sql_by_hand_over_the_log_says(
    database: Connection, model: str, tier: str
) -> None:
    judge_due(database, DUE + 2 * DAY)
    refresh_scorecard(database)
    chosen = {"model": model, "tier": tier}
    by_hand = database.execute(BY_HAND, chosen).fetchone()
    card = database.execute(
        "SELECT scored, mae_log10, coverage_80, mdape FROM scorecard WHERE model_version = "
        "%(model)s AND tier = %(tier)s AND horizon_days = 7 AND format = 'all'",
        chosen,
    ).fetchone()
    assert card is not None
    assert by_hand is not None
    assert card[0] == by_hand[0] > 10
    assert card[1:] == pytest.approx(by_hand[1:], rel=1e-9)


@pytest.mark.usefixtures("many")
def test_the_scorecard_shows_what_has_no_truth_and_how_it_differs(database: Connection) -> None:
    judge_due(database, DUE + 2 * DAY)
    refresh_scorecard(database)
    with database.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM scorecard WHERE model_version = 'all' AND tier = 'all' AND "
            "format = 'all' AND horizon_days = 0"
        ).fetchone()
    assert row is not None
    assert (row["closed"], row["scored"], row["waiting"]) == (90, 60, 30)
    assert row["label_coverage"] == 1.0  # what is still waited for is not missing yet
    judge_due(database, DUE + 10 * DAY)
    refresh_scorecard(database)
    later = database.execute(
        "SELECT never, label_coverage, median_growth_unscored FROM scorecard WHERE "
        "model_version = 'all' AND tier = 'all' AND format = 'all' AND horizon_days = 0"
    ).fetchone()
    assert later is not None
    assert later[:2] == (30, pytest.approx(2 / 3))
    assert later[2] > 0
