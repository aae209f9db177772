"""Receipts in PostgreSQL: written in its binary format, read as they were; also those of before."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import orjson
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import text

import ingestion
from ingestion.warehouse import migrate, open_warehouse
from serving.forecast_log import ForecastLog, ForecastRecord, VectorLayout, document
from serving.metrics import ServingMetrics

ID = UUID("12345678-9abc-4def-8123-456789abcdef")
ASKED_AT = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
OBSERVED_AT = 1_772_359_200.25
NAMES = ("log10_views", "duration_seconds", "growth", "new\\line")
AS_OF_BEFORE = {"log10_views": float(np.float32(0.1)), "duration_seconds": None, "growth": 1e-8}


def record(**changes):
    values = {
        "forecast_id": str(ID),
        "asked_at": ASKED_AT,
        "as_of": ASKED_AT.replace(microsecond=0),
        "situation": "published",
        "world": "synthetic",
        "video_id": "tab\tor\\N",
        "channel_id": None,
        "model_version": "7",
        "model_digest": "d" * 64,
        "request": document({"days": (1, 7), "draft": {"title": "zero \0, told \\u0000 \u2028"}}),
        "layout": VectorLayout(NAMES),
        "features": np.array([0.1, np.nan, np.inf, -3e-45], dtype=np.float32),
        "counts": {"views": 3.0, "likes": float("nan")},
        "tier": "1e3",
        "source": "online_store",
        "observed_at": OBSERVED_AT,
        "views": ("video_profile", "channel_track_record"),
        "event_times": [OBSERVED_AT, float("nan")],
        "degraded": ["stale_features", "model_unconfirmed"],
        "answer": b'{"metrics":{"views":{"current":3}},"text":"\\n\\""}',
    }
    return ForecastRecord(**(values | changes))


def open_log(url, schema):
    return ForecastLog(url, schema, 100, ServingMetrics())


def kept(url, schema, *records):
    """Write records, and read the first."""

    async def write_and_read():
        log = open_log(url, schema)
        await log.start()
        for one in records:
            log.append(one)
        await log.stop()
        return await log.read(UUID(records[0].forecast_id))

    return asyncio.run(write_and_read())


def test_a_receipt_is_read_as_it_was_written(database_url, schema):
    written = record()
    found = kept(database_url, schema, written)
    plain = (
        "asked_at", "as_of", "situation", "world", "video_id", "channel_id", "model_version",
        "model_digest", "degraded",
    )  # fmt: skip
    assert found["forecast_id"] == ID
    for name in plain:
        assert found[name] == getattr(written, name)
    assert found["answer"] == orjson.loads(written.answer)
    assert found["vector"] == {
        "counts": {"views": 3.0, "likes": None},
        "tier": "1e3",
        "source": "online_store",
        "observed_at": OBSERVED_AT,
        "features": {
            "log10_views": float(np.float32(0.1)),
            "duration_seconds": None,
            "growth": float("inf"),
            "new\\line": float(np.float32(-3e-45)),
        },
    }
    times = {name: at and datetime.fromisoformat(at) for name, at in found["feature_times"].items()}
    assert times == {
        "video_profile": datetime.fromtimestamp(OBSERVED_AT, UTC),
        "channel_track_record": None,
    }


def test_a_character_that_postgresql_does_not_have_loses_no_receipt(database_url, schema):
    found = kept(database_url, schema, record())
    assert found["request"]["draft"]["title"] == "zero \ufffd, told \\u0000 \u2028"
    with psycopg.connect(database_url) as connection:
        query = f"SELECT request->'draft'->>'title' FROM {schema}.forecast_log"
        assert connection.execute(query.encode()).fetchone() == (
            found["request"]["draft"]["title"],
        )


def test_of_more_receipts_than_may_wait_the_first_are_kept_and_the_others_counted(
    database_url, schema
):
    metrics, ids = ServingMetrics(), [str(UUID(int=at)) for at in range(130)]

    async def write():
        log = ForecastLog(database_url, schema, 100, metrics)
        await log.start()
        for one in ids:
            log.append(record(forecast_id=one))
        assert "forecast_log_queued 100.0" in metrics.text().decode()
        await log.stop()

    asyncio.run(write())
    with psycopg.connect(database_url) as connection:
        query = f"SELECT forecast_id::text FROM {schema}.forecast_log ORDER BY 1"
        found = connection.execute(query.encode()).fetchall()
    assert [one for (one,) in found] == ids[:100]
    told = metrics.text().decode()
    assert "forecast_log_written_total 100.0" in told
    assert "forecast_log_lost_total 30.0" in told


def test_what_the_database_refuses_takes_no_other_receipt_with_it(database_url, schema):
    """A document that is none, and a receipt whose writing was never confirmed."""
    metrics, ids = ServingMetrics(), [str(UUID(int=at)) for at in range(30)]
    kept(database_url, schema, record(forecast_id=ids[3]))

    async def write():
        log = ForecastLog(database_url, schema, 100, metrics)
        await log.start()
        for one in ids:
            log.append(record(forecast_id=one, answer=b"{" if one == ids[7] else b"{}"))
        await log.stop()

    asyncio.run(write())
    with psycopg.connect(database_url) as connection:
        query = f"SELECT forecast_id::text FROM {schema}.forecast_log ORDER BY 1"
        found = connection.execute(query.encode()).fetchall()
    assert [one for (one,) in found] == ids[:7] + ids[8:]
    told = metrics.text().decode()
    assert "forecast_log_written_total 29.0" in told
    assert "forecast_log_lost_total 1.0" in told
    assert "forecast_log_queued 0.0" in told


class Vanishing:
    """A way to PostgreSQL on which every byte is lost from some moment on, without a word."""

    def __init__(self, url):
        self._real = conninfo_to_dict(url)
        self.connections = 0
        self.is_away = False

    async def handle(self, reader, writer):
        self.connections += 1
        host, port = self._real["host"], self._real.get("port", "5432")
        opened = (
            asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
            if host.startswith("/")
            else asyncio.open_connection(host, int(port))
        )
        there, back = await opened
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            writer.close()
            back.close()

    async def _pump(self, source, sink):
        while data := await source.read(65_536):
            if not self.is_away:
                sink.write(data)
        sink.close()


@asynccontextmanager
async def vanishing(url):
    way = Vanishing(url)
    listener = await asyncio.start_server(way.handle, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    given = {"host": "127.0.0.1", "hostaddr": "127.0.0.1", "port": port}
    async with listener:
        yield way, make_conninfo(url, **given, sslmode="disable", gssencmode="disable")


def sample(metrics, name):
    lines = metrics.text().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


async def until(happened, seconds=15.0):
    end = time.perf_counter() + seconds
    while not happened():
        assert time.perf_counter() < end, "it did not happen"
        await asyncio.sleep(0.02)


def test_a_database_that_vanishes_without_a_word_is_given_up_on_and_no_row_lost(
    database_url, schema
):
    metrics, ids = ServingMetrics(), [str(UUID(int=at)) for at in range(30)]

    async def write():
        async with vanishing(database_url) as (way, url):
            log = ForecastLog(url, schema, 100, metrics, write_seconds=0.5)
            await log.start()
            log.append(record(forecast_id=ids[0]))
            await until(lambda: sample(metrics, "forecast_log_written_total") == 1)
            assert sample(metrics, "forecast_log_lag_seconds") == 0
            way.is_away = True
            for one in ids[1:]:
                log.append(record(forecast_id=one))
            await until(lambda: sample(metrics, "forecast_log_lag_seconds") > 1)
            way.is_away = False
            await until(lambda: sample(metrics, "forecast_log_written_total") == 30)
            assert sample(metrics, "forecast_log_lag_seconds") == 0
            await log.stop()
            assert way.connections > 1

    asyncio.run(write())
    with psycopg.connect(database_url) as connection:
        query = f"SELECT forecast_id::text FROM {schema}.forecast_log ORDER BY 1"
        found = connection.execute(query.encode()).fetchall()
    assert [one for (one,) in found] == ids
    assert sample(metrics, "forecast_log_lost_total") == 0


def test_a_server_stops_although_its_database_vanished(database_url, schema):
    metrics = ServingMetrics()

    async def write():
        async with vanishing(database_url) as (way, url):
            log = ForecastLog(url, schema, 100, metrics)
            await log.start()
            log.append(record())
            await until(lambda: sample(metrics, "forecast_log_written_total") == 1)
            way.is_away = True
            log.append(record(forecast_id=str(UUID(int=1))))
            await asyncio.sleep(0.2)
            await asyncio.wait_for(log.stop(), 4.5)

    asyncio.run(write())
    assert sample(metrics, "forecast_log_lost_total") == 1


def test_an_answer_of_curves_has_no_inputs(database_url, schema):
    assert kept(database_url, schema, record(features=None))["vector"]["features"] is None


def test_receipts_of_models_with_other_columns_are_told_apart(database_url, schema):
    other = record(
        forecast_id="00000000-0000-4000-8000-000000000000",
        layout=VectorLayout(NAMES[::-1]),
        features=np.arange(4, dtype=np.float32),
    )
    found = kept(database_url, schema, other, record())
    assert found["vector"]["features"] == dict(zip(NAMES[::-1], (0.0, 1.0, 2.0, 3.0), strict=True))


OLD = """
    INSERT INTO forecast_log (forecast_id, asked_at, as_of, situation, world, model_version,
        model_digest, request, vector, feature_times, answer)
    VALUES (%s, now(), now(), 'published', 'synthetic', '1', 'd', '{"days": [1]}', %s, '{}',
        '{"metrics": {}}')
"""


@pytest.mark.parametrize("features", [AS_OF_BEFORE, None])
def test_receipts_of_before_are_read_as_they_were(database_url, schema, features):
    """Whether written before the tables were changed, or after it by a server of before."""
    vector = orjson.dumps({"tier": "1e3", "features": features}).decode()
    later = UUID(int=5)
    _move(database_url, schema, "0008")
    _execute(database_url, schema, OLD, (ID, vector))
    migrate(database_url, schema)
    _execute(database_url, schema, OLD, (later, vector))
    log = open_log(database_url, schema)
    for found in (asyncio.run(log.read(ID)), asyncio.run(log.read(later))):
        assert found["request"] == {"days": [1]}
        assert found["vector"]["tier"] == "1e3"
        told = found["vector"]["features"]
        assert told == features if features is None else _in_float32(told) == _in_float32(features)


def test_receipts_survive_the_way_back(database_url, schema):
    kept(database_url, schema, record(features=np.array([0.1, np.nan, 2, 3], dtype=np.float32)))
    _move(database_url, schema, "0008")
    with psycopg.connect(database_url) as connection:
        query = f"SELECT vector->'features', answer->'metrics' FROM {schema}.forecast_log"
        row = connection.execute(query.encode()).fetchone()
    assert row == (
        {"log10_views": 0.1, "duration_seconds": None, "growth": 2, "new\\line": 3},
        {"views": {"current": 3}},
    )


def _in_float32(features):
    return {name: value and np.float32(value) for name, value in features.items()}


def _execute(url, schema, statement, values):
    with psycopg.connect(url, options=f"-c search_path={schema}") as connection:
        connection.execute(statement, values)


def _move(url, schema, revision):
    """Bring a schema back to a revision."""
    engine = open_warehouse(url, schema)
    with engine.begin() as connection:
        connection.execute(text(f"SET search_path TO {schema}"))
        config = Config()
        location = Path(ingestion.__file__).with_name("migrations")
        config.set_main_option("script_location", str(location))
        config.attributes.update(connection=connection, schema=schema)
        command.downgrade(config, revision)
    engine.dispose()
