"""What may not be kept is deleted everywhere, what may be kept stays, and a certificate says so."""

import json
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from redis import Redis, RedisError
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from feature_repo.bundle import (
    CONTRACT_FILE,
    DIGESTED_FILES,
    Contract,
    file_digest,
    schema_hash,
)
from feature_repo.clock import fixed_clock
from feature_repo.online_layout import key_encoder
from ingestion import purge_commands, purged_elsewhere
from ingestion import warehouse as w
from ingestion.feature_tables import build
from ingestion.intake import Intake, as_stored
from ingestion.loading import load
from ingestion.purging import PurgeIncomplete, Selection, Stores, purge
from ingestion.pushing import Pusher
from ingestion.replaying import replay
from tests.ingestion.conftest import NOON, look, looks, snapshot, snapshots

OLD, KEPT, IMPORTED = "old_video_1", "new_video_1", "importvideo"
OLD_CHANNEL, CHANNEL = "UCoooooooooooooooooooooo", "UCaaaaaaaaaaaaaaaaaaaaaa"
DAY = timedelta(days=1)
NOW = NOON + 60 * DAY


def _collected(video_id, day, **columns):
    moment = NOON + day * DAY
    known = {"observed_at": moment, "ingested_at": moment + timedelta(seconds=2)}
    return snapshot(video_id, **{**known, **columns})


def _answer(*video_ids):
    items = [
        {"kind": "youtube#videoStats", "id": v, "statistics": {"viewCount": "5"}} for v in video_ids
    ]
    return json.dumps({"kind": "youtube#batchGetStatsResponse", "etag": "e", "items": items})


def _bundle(directory, trained_until):
    """A model trained on what was observed until a moment."""
    directory.mkdir(parents=True)
    for name in DIGESTED_FILES:
        (directory / name).write_bytes(b"{}")
    digests = {name: file_digest(directory / name) for name in DIGESTED_FILES}
    contract = Contract(
        situation="published", feature_service="published_v1", world="real", columns=(),
        horizon_column="horizon", metrics={}, tier_column="tier",
        trained_until=trained_until.isoformat(), dataset_digest="d",
        schema_hash=schema_hash("published_v1", []), seed=1, digests=digests,
    )  # fmt: skip
    (directory / CONTRACT_FILE).write_text(contract.model_dump_json())


@pytest.fixture
def platform(warehouse, landing, redis_url, database_url, schema, tmp_path, monkeypatch):
    """Data in every store: an old and a fresh video, collected, and an imported one."""
    state = tmp_path / "state"
    for name in ("features", "logs", "mlflow-artifacts"):
        (state / name).mkdir(parents=True)
    rows = [_collected(OLD, 0), _collected(KEPT, 0), _collected(KEPT, 59), snapshot(IMPORTED)]
    w.append_snapshots(warehouse, snapshots(rows))
    late = {"ingested_at": NOON + timedelta(seconds=2)}
    w.append_metadata(
        warehouse,
        looks([look(OLD, channel_id=OLD_CHANNEL, **late), look(IMPORTED), look(KEPT, **late)]),
    )
    seen = NOON + 59 * DAY
    again = look(KEPT, observed_at=seen, ingested_at=seen + timedelta(seconds=2))
    w.append_metadata(warehouse, looks([again]))
    refs = {}
    for name, ids, day in (("old", (OLD, KEPT), 0), ("new", (KEPT,), 59)):
        refs[name] = landing.put(
            _answer(*ids).encode(), request={"method": "videos.batchGetStats", "id": ",".join(ids)},
            fetched_at=NOON + day * DAY, world="real",
        )  # fmt: skip
        landing.put_manifest([refs[name]], NOON + day * DAY + timedelta(seconds=2), "real")
    with Redis.from_url(redis_url) as redis:
        for video_id in (OLD, KEPT):
            redis.hset(key_encoder("video_id")(video_id), "x", "1")
        for channel_id in (OLD_CHANNEL, CHANNEL):
            redis.hset(key_encoder("channel_id")(channel_id), "x", "1")
    told = [NOON.timestamp(), NOW.timestamp()]  # a feature, and so a number
    table = pa.table({"video_id": [OLD, KEPT], "observed_at": told, "event_timestamp": [NOON, NOW]})
    pq.write_table(table, state / "features" / "part.parquet")
    pq.write_table(table, state / "mlflow-artifacts" / "reference.parquet")
    cache = tmp_path / "cache" / "ab"
    cache.mkdir(parents=True)
    pq.write_table(table, cache / "cdef0123")
    for name, until in (("early", NOON - DAY), ("late", NOON + 59 * DAY)):
        _bundle(state / "models" / name, until)
    (state / "logs" / "serving.log").write_text(f"asked {OLD}\nasked {KEPT}\n")
    for name, value in {
        "FOREVIEW_DATABASE_URL": database_url, "FOREVIEW_DATABASE_SCHEMA": schema,
        "FOREVIEW_LANDING_URL": landing.url, "FOREVIEW_REDIS_URL": redis_url,
        "FOREVIEW_STATE_DIR": str(state), "FOREVIEW_CLOCK": NOW.isoformat(),
        "FOREVIEW_RETENTION_DAYS": "30",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)  # DVC's data of the working directory would go too

    def run(*arguments):
        told = [*arguments, "--also", str(tmp_path / "cache"), "--json"]
        outcome = CliRunner().invoke(purge_commands.purge, told, catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return json.loads(outcome.stdout)

    return run


@contextmanager
def _without_table(warehouse, name):
    """Let PostgreSQL fail where a table is used."""
    with warehouse.begin() as connection:
        connection.execute(text(f"ALTER TABLE {name} RENAME TO away"))
    yield
    with warehouse.begin() as connection:
        connection.execute(text(f"ALTER TABLE away RENAME TO {name}"))


def _everything(warehouse, landing, redis_url, tmp_path) -> str:
    """All that is kept anywhere, as text."""
    told = [str(w.read_snapshots(warehouse).to_pylist()), str(w.read_metadata(warehouse))]
    with warehouse.connect() as connection:
        told += map(str, connection.execute(text("SELECT * FROM video_metadata_seen")))
    told += [str(landing.get(ref)) for ref in landing.refs()]
    with Redis.from_url(redis_url) as redis:
        told += sorted({str(key) for key in redis.scan_iter()})  # a resize changes SCAN's order
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file() and path.read_bytes()[:4] == b"PAR1":
            told.append(str(pq.read_table(path).to_pylist()))
        elif path.suffix == ".log":
            told.append(path.read_text())
    return "\n".join(told)


def test_a_dry_run_counts_and_deletes_nothing(platform, warehouse, landing, redis_url, tmp_path):
    before = _everything(warehouse, landing, redis_url, tmp_path)
    told = platform("--video", OLD, "--dry-run")
    assert told["deleted"]["video_snapshots"] == 1
    assert told["deleted"]["landing"] == 1
    assert _everything(warehouse, landing, redis_url, tmp_path) == before


def test_nothing_of_a_named_video_is_left_and_nothing_else_goes(
    platform, warehouse, landing, redis_url, tmp_path
):
    told = platform("--video", OLD)
    assert all(
        told["deleted"][store] >= 1
        for store in ("landing", "video_snapshots", "video_metadata", "redis", "logs")
    )
    assert set(told["remaining"].values()) == {0}
    with Redis.from_url(redis_url) as redis:  # its channel has no other video
        assert not redis.exists(key_encoder("channel_id")(OLD_CHANNEL))
        assert redis.exists(key_encoder("channel_id")(CHANNEL))
    left = _everything(warehouse, landing, redis_url, tmp_path)
    assert OLD not in left
    assert KEPT in left
    assert IMPORTED in left
    assert len(list(landing.refs())) == 2
    with warehouse.connect() as connection:
        (kept,) = connection.scalars(text("SELECT certificate FROM purges"))
    assert kept["purge_id"] == told["purge_id"]
    assert platform("--video", OLD, "--dry-run")["deleted"]["landing"] == 0


def test_after_a_purge_the_landing_can_still_be_replayed(platform, warehouse, landing):
    platform("--video", OLD)
    with warehouse.begin() as connection:
        connection.execute(text("TRUNCATE video_snapshots"))
    replay(warehouse, landing, fixed_clock(NOW))
    assert w.read_snapshots(warehouse)["video_id"].to_pylist() == [KEPT, KEPT]


def test_a_replay_brings_no_purged_video_of_an_imported_parquet_back(
    platform, warehouse, landing, tmp_path
):
    ids = [f"v{number:010d}" for number in range(3000)]  # so many that their page is compressed
    counts = pa.array([1] * len(ids), pa.int64())
    columns = {name: counts for name in ("view_count", "like_count", "comment_count")}
    told = {"video_id": ids, "observed_at": [NOON] * len(ids), **columns}
    table = pa.table({**told, "live_broadcast_content": ["none"] * len(ids)})
    pq.write_table(table, tmp_path / "snapshots.parquet")
    load([tmp_path / "snapshots.parquet"], warehouse, landing, "real", fixed_clock(NOW))
    (tmp_path / "snapshots.parquet").unlink()
    purged = platform("--video", ids[1234])
    replay(warehouse, landing, fixed_clock(NOW))

    assert purged["deleted"]["landing"] == 1
    assert ids[1234] not in w.read_snapshots(warehouse)["video_id"].to_pylist()


def test_collected_data_past_its_time_goes_and_imports_stay(
    platform, warehouse, landing, redis_url
):
    told = platform()
    assert told["deleted"]["video_snapshots"] == 2
    assert set(told["remaining"].values()) == {0}
    left = w.read_snapshots(warehouse).to_pylist()
    assert {(r["video_id"], r["observed_at"]) for r in left} == {
        (KEPT, NOON + 59 * DAY), (IMPORTED, NOON),
    }  # fmt: skip
    # What a look within the time found unchanged is refreshed.
    assert set(w.read_metadata(warehouse)["video_id"].to_pylist()) == {KEPT, IMPORTED}
    assert len(list(landing.refs())) == 1
    with Redis.from_url(redis_url) as redis:
        assert not redis.exists(key_encoder("video_id")(OLD))
        assert redis.exists(key_encoder("video_id")(KEPT))
        assert not redis.exists(key_encoder("channel_id")(OLD_CHANNEL))
        assert redis.exists(key_encoder("channel_id")(CHANNEL))


def test_a_purge_that_redis_cut_short_is_finished_by_the_next(
    platform, warehouse, landing, redis_url, tmp_path
):
    past = Selection(before=NOON + 30 * DAY)
    keys = (key_encoder("video_id")(OLD), key_encoder("channel_id")(OLD_CHANNEL))
    away = Stores(warehouse, landing, "redis://127.0.0.1:1/0", tmp_path / "state")
    with pytest.raises(RedisError):
        purge(away, past, NOW, dry_run=False)
    there = Stores(warehouse, landing, redis_url, tmp_path / "state")
    told = purge(there, past, NOW, dry_run=False)

    assert told.deleted["redis"] == 2
    with Redis.from_url(redis_url) as redis:
        assert not redis.exists(*keys)


def test_an_answer_whose_rewriting_was_cut_short_is_not_taken_for_a_new_one(
    warehouse, landing, tmp_path
):
    asked = NOW - timedelta(hours=5)
    request = {"method": "videos.batchGetStats", "id": f"{OLD},{KEPT}"}
    ref = landing.put(_answer(OLD, KEPT).encode(), request=request, fetched_at=asked, world="real")
    known = asked + timedelta(seconds=2)
    Intake(warehouse, landing, clock=fixed_clock(known), world="real").bring_in(
        [as_stored(landing.get(ref), known)]
    )
    stores = Stores(warehouse, landing, None, tmp_path / "state")
    with _without_table(warehouse, "quarantine"), pytest.raises(ProgrammingError):
        purge(stores, Selection(video_id=OLD), NOW, dry_run=False)
    recovered = Intake(warehouse, landing, clock=fixed_clock(NOW), world="real").recover()
    replay(warehouse, landing, fixed_clock(NOW))
    purge(stores, Selection(video_id=OLD), NOW, dry_run=False)

    assert recovered.read == 0
    (left,) = w.read_snapshots(warehouse).to_pylist()
    (rewritten,) = landing.refs()
    assert (left["video_id"], left["ingested_at"]) == (KEPT, known)
    assert left["raw_ref"] == rewritten != ref


def _asked(connection, video_id, world, at):
    """Log a forecast and what became of it."""
    connection.execute(
        text("""
            WITH logged AS (
                INSERT INTO forecast_log (forecast_id, asked_at, as_of, situation, world, video_id,
                    channel_id, model_version, model_digest, request, vector, feature_times, answer)
                VALUES (gen_random_uuid(), :at, :at, 'published', :world, :video, 'c', '1', 'd',
                    '{"days": [1]}', '{"counts": {"views": 5}}', '{}', '{"p50": 5}')
                RETURNING forecast_id
            )
            INSERT INTO forecast_outcomes (forecast_id, metric, horizon_days, world, situation,
                model_version, model_digest, video_id, tier, format, as_of, due_at, p10, p50, p90,
                is_degraded, status, scored_at)
            SELECT forecast_id, 'views', 1, :world, 'published', '1', 'd', :video, 'all', 'long',
                :at, :at, 1, 2, 3, false, 'never', :at FROM logged
        """),
        {"video": video_id, "world": world, "at": at},
    )


def test_receipts_and_outcomes_go_in_their_time_and_no_sooner(platform, warehouse):
    old, late = NOON + 29 * DAY, NOON + 31 * DAY
    kept = {("real", late), ("synthetic", old)}
    with warehouse.begin() as connection:
        for world, at in (("real", old), *kept):
            _asked(connection, KEPT, world, at)
        for number, (world, at) in enumerate((("real", old), *kept)):
            connection.execute(
                text("""
                    INSERT INTO quarantine
                        (world, source, raw_ref, item, reasons, quarantined_at)
                    VALUES (:world, 's', :ref, '{}', '{}', :at)
                """),
                {"world": world, "at": at, "ref": str(number)},
            )
    told = platform()

    deleted = told["deleted"]
    assert [deleted[n] for n in ("forecast_log", "forecast_outcomes", "quarantine")] == [1, 1, 1]
    receipts = "SELECT world, asked_at, video_id, request::text, degraded FROM forecast_log"
    with warehouse.connect() as connection:
        emptied = {
            (row.world, row.asked_at)
            for row in connection.execute(text(receipts))
            if (row.video_id, row.request, row.degraded) == (None, "{}", ["purged"])
        }
        outcomes = connection.execute(text("SELECT world, as_of FROM forecast_outcomes")).all()
        refused = connection.execute(text("SELECT world, quarantined_at FROM quarantine")).all()
    assert emptied == {("real", old)}
    assert {tuple(row) for row in outcomes} == {tuple(row) for row in refused} == kept


def test_a_purge_after_which_something_is_there_again_fails_and_says_where(
    platform, warehouse, landing, tmp_path
):
    with warehouse.begin() as connection:  # as a restore that runs beside it
        connection.exec_driver_sql("""
            CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO video_snapshots SELECT OLD.*; RETURN NULL; END';
            CREATE TRIGGER again AFTER DELETE ON video_snapshots
                FOR EACH ROW EXECUTE FUNCTION again();
        """)
    stores = Stores(warehouse, landing, None, tmp_path / "state")
    with pytest.raises(PurgeIncomplete, match="'video_snapshots': 1"):
        purge(stores, Selection(video_id=OLD), NOW, dry_run=False)


def _track_records(warehouse):
    with warehouse.connect() as connection:
        query = "SELECT channel_id, event_timestamp FROM channel_track_record ORDER BY 1, 2"
        return [tuple(row) for row in connection.execute(text(query))]


def test_features_of_a_channel_that_was_never_looked_at_itself_go_too(platform, warehouse):
    drawn = {"ingested_at": NOON + timedelta(seconds=2), "world": "synthetic"}
    synthetic = "UCssssssssssssssssssssss"
    w.append_snapshots(warehouse, snapshots([snapshot("synthetic_1", **drawn)]))
    w.append_metadata(warehouse, looks([look("synthetic_1", channel_id=synthetic, **drawn)]))
    imported = "UCiiiiiiiiiiiiiiiiiiiiii"
    w.append_snapshots(warehouse, snapshots([snapshot("importvide2")]))
    w.append_metadata(warehouse, looks([look("importvide2", channel_id=imported)]))
    build(warehouse)
    told = platform()

    assert told["remaining"]["channel_track_record"] == 0
    assert _track_records(warehouse) == [
        (CHANNEL, NOON + 59 * DAY), (imported, NOON), (synthetic, NOON),
    ]  # fmt: skip


def test_features_whose_source_an_earlier_purge_took_go_in_their_time(
    platform, warehouse, monkeypatch
):
    w.append_snapshots(warehouse, snapshots([_collected(OLD, 40)]))
    build(warehouse)
    platform()  # takes what said whose video it is, for that was not read again
    first = _track_records(warehouse)
    monkeypatch.setenv("FOREVIEW_CLOCK", (NOW + 30 * DAY).isoformat())
    platform()

    assert (OLD_CHANNEL, NOON + 40 * DAY) in first
    assert OLD_CHANNEL not in [channel for channel, _ in _track_records(warehouse)]


def test_models_are_named_with_what_they_may_have_seen(platform):
    (model,) = platform("--dry-run")["models"]
    late = (NOON + 59 * DAY).isoformat()
    assert (model["world"], model["situation"], model["trained_until"]) == (
        "real", "published", late,
    )  # fmt: skip
    assert model["snapshots"] == 2
    (model,) = platform("--video", KEPT, "--dry-run")["models"]
    assert model["snapshots"] == 2


def test_what_is_not_reached_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREVIEW_MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    monkeypatch.setenv("FOREVIEW_FEATURES_URL", "s3://bucket/features")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    remote = far\n"
        "['remote \"far\"']\n    url = s3://bucket/dvc\n"
        "['remote \"near\"']\n    url = ../../store\n"
    )
    told = "\n".join(purged_elsewhere.unreached(tmp_path))
    assert "s3://bucket/dvc" in told
    assert "mlflow.example.org" in told
    assert "foreview features export s3://bucket/features" in told
    assert purged_elsewhere.local_exports() == []
    assert "store" not in told
    (near,) = purged_elsewhere.local_remotes(tmp_path)
    assert near.resolve() == (tmp_path.parent / "store").resolve()


@contextmanager
def _purged_meanwhile(stores):
    """Give what begins a purge of a video; it ends at once, or at the end where it has to wait."""
    begun = []

    def begin(*_):
        if not begun:
            told = {"dry_run": False}
            begun.append(Thread(target=purge, args=(stores, Selection(OLD), NOW), kwargs=told))
            begun[0].start()
            begun[0].join(3)

    yield begin
    begun[0].join()


def _features_of(warehouse, video_id):
    with warehouse.connect() as connection:
        query = "SELECT count(*) FROM {} WHERE video_id = :video"
        return [
            connection.scalar(text(query.format(name)), {"video": video_id})
            for name in ("video_profile", "video_performance")
        ]


def test_features_that_are_built_during_a_purge_are_not_there_after_it(
    platform, warehouse, landing, tmp_path
):
    build(warehouse)
    assert _features_of(warehouse, OLD) == [1, 1]
    with _purged_meanwhile(Stores(warehouse, landing, None, tmp_path)) as begin:
        build(warehouse, report=begin)

    assert _features_of(warehouse, OLD) == [0, 0]


def test_features_that_are_pushed_during_a_purge_are_nowhere_after_it(
    platform, warehouse, landing, tmp_path, redis_url
):
    stores = Stores(warehouse, landing, redis_url, tmp_path)
    with Redis.from_url(redis_url) as redis, _purged_meanwhile(stores) as begin:
        # Asked for between the features and their writing.
        Pusher(warehouse, redis, begin)({OLD}, set())

    with Redis.from_url(redis_url) as redis:
        assert not redis.exists(key_encoder("video_id")(OLD))
    assert _features_of(warehouse, OLD) == [0, 0]
