"""What registering would change and what it must not, and how features are doing."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from click.testing import CliRunner
from feast import FeatureView, Field
from feast.types import Float64, Int64
from redis import Redis
from sqlalchemy import text

from feature_repo import planning
from feature_repo import store as feature_store
from feature_repo.errors import FeaturesInUse
from feature_repo.schemas import FEATURE_TABLES
from feature_repo.store import feast_environment, open_feature_store
from ingestion.feature_commands import features
from ingestion.feature_status import read_status
from ingestion.feature_tables import build
from ingestion.locks import purging_alone
from ingestion.materializing import built_window, materialize
from ingestion.models_in_use import ModelsUnknown, services_in_use
from ingestion.registering import register
from ingestion.warehouse import open_warehouse
from serving.registry import model_name
from tests.serving.conftest import register as register_model
from tests.worlds import DAY, HOUR, NOON, small_world, snapshot, store, video_ids, world

TRAINED = {"published_v1": ["foreview-published-real version 3"]}


@pytest.fixture
def online(redis_url):
    return redis_url.removesuffix("/0") + "/12"


@pytest.fixture
def registry(database_url, schema, online):
    """A feature store in which nothing is registered yet."""
    return open_feature_store(feast_environment(database_url, schema, online))


def changed_view(registered, **changes):
    """Put a view into the registry whose features are not those of the code."""
    view = registered.get_feature_view("video_performance")
    kept = [field for field in view.features if field.name not in changes]
    fields = kept + [Field(name=name, dtype=dtype) for name, dtype in changes.items() if dtype]
    schema = [*view.entity_columns, *fields]
    older = FeatureView(
        name=view.name,
        entities=[registered.get_entity("video")],
        ttl=view.ttl,
        schema=schema,
        source=view.batch_source,
        owner="foreview",
        description=view.description,
    )
    registered.registry.apply_feature_view(older, registered.project)


def test_registering_for_the_first_time_adds_everything_and_asks_nobody(registry):
    def nobody_is_asked(_):
        raise AssertionError

    found = register(registry, "http://127.0.0.1:1", nobody_is_asked)
    assert {change.kind for change in found} == {"added"}
    assert {"video_profile", "draft_v1"} <= {change.name for change in found}
    assert register(registry, "http://127.0.0.1:1", nobody_is_asked) == []
    assert planning.changes(planning.registered(registry), planning.declared()) == []


def test_what_a_model_uses_is_not_changed_from_under_it(registry):
    register(registry, None)
    # As the registry has it, the code adds one feature, drops one, and changes one's type.
    changed_view(registry, view_count=None, dropped=Float64, like_count=Int64)
    before = planning.registered(registry)
    kinds = {
        (change.kind, change.feature)
        for change in planning.changes(before, planning.declared())
        if change.of == "view"
    }
    assert kinds == {
        ("added", "view_count"), ("removed", "dropped"), ("changed", "like_count"),
    }  # fmt: skip
    with pytest.raises(FeaturesInUse, match=r"dropped.*version 3.*published_v3.*--force"):
        register(registry, None, lambda _: TRAINED)
    with pytest.raises(FeaturesInUse, match=r"dropped.*all that is known"):
        feature_store.apply(registry)  # nobody was asked: any service may be in use
    assert planning.registered(registry) == before
    register(registry, None, lambda _: {"another_v1": ["a model"]})
    assert planning.changes(planning.registered(registry), planning.declared()) == []


def registered_as(view, service):
    """Describe a registry of one view and one service by the types of their features."""
    listed = {f"a_view:{name}": dtype for name, dtype in service.items()}
    return planning.Registered({"a_view": view}, {"a_v1": listed}, {"a_v1": ["a_view"]})


@pytest.mark.parametrize(
    ("view", "service", "refused"),
    [
        ({"a": "Float64"}, {"a": "Float64"}, []),
        ({"a": "Float64", "b": "Float64"}, {"a": "Float64"}, []),  # a view may gain features
        ({}, {"a": "Float64"}, ["removed view a_view: a"]),
        ({"a": "Int64"}, {"a": "Float64"}, ["changed view a_view: a"]),
        ({"a": "Float64"}, {}, ["removed service a_v1: a_view:a"]),
        ({"a": "Float64"}, {"a": "Float64", "b": "Float64"}, ["added service a_v1: a_view:b"]),
    ],
)
def test_what_is_forbidden_while_a_model_uses_a_service(view, service, refused):
    before = registered_as({"a": "Float64"}, {"a": "Float64"})
    found = planning.changes(before, registered_as(view, service))
    named = planning.forbidden(found, before, {"a_v1": ["a model"]})
    assert [f"{c.kind} {c.of} {c.name}: {c.feature}" for c in named] == refused
    assert planning.forbidden(found, before, {}) == []


def test_models_are_asked_of_mlflow_by_their_tags(mlflow_uri, tmp_path):
    (tmp_path / "bundle").write_text("nothing")
    version = register_model(mlflow_uri, tmp_path, "upkeep", {"feature_service": "upkeep_v1"})
    name = model_name("upkeep")
    assert services_in_use(mlflow_uri)["upkeep_v1"] == [f"{name} version {version}"]
    address = f"{mlflow_uri}/api/2.0/mlflow/registered-models/delete"
    httpx.request("DELETE", address, json={"name": name}, timeout=30).raise_for_status()
    assert "upkeep_v1" not in services_in_use(mlflow_uri)
    assert services_in_use(None) == {}
    with pytest.raises(ModelsUnknown, match="--force"):
        services_in_use("http://127.0.0.1:1")


def test_the_status_tells_freshness_nulls_lag_and_memory(registry, database_url, schema, online):
    engine = open_warehouse(database_url, schema)
    empty = read_status(engine, None, NOON)
    assert [view.told()[0].split(":")[1] for view in empty] == [
        " no rows yet (foreview features build)"
    ] * 3
    store(engine, small_world("u"))
    build(engine)
    feature_store.apply(registry)
    materialize(registry, built_window(engine))
    views = {view.name: view for view in read_status(engine, online, NOON + 3 * DAY)}
    videos = views["video_performance"]
    assert videos.entities == 30
    assert videos.age_seconds == (NOON + 3 * DAY - videos.last_event).total_seconds()
    assert videos.lag_seconds == 0
    assert 0 < videos.null_share["like_count"] < 1
    assert videos.null_share["observed_at"] == 0
    assert (videos.online.sampled, videos.online.present, videos.online.current) == (30, 30, 30)
    assert 500 < videos.online.bytes_per_entity < 20_000
    seen_again = snapshot(video_ids("u")[0], NOON + 2 * DAY, 10**6)
    store(engine, world(snapshots=[seen_again]))
    later = {view.name: view for view in read_status(engine, online, NOON + 3 * DAY)}
    behind = NOON + 2 * DAY - videos.last_event
    assert later["video_performance"].lag_seconds == behind.total_seconds()
    build(engine, [video_ids("u")[0]])
    later = {view.name: view for view in read_status(engine, online, NOON + 3 * DAY)}
    told = later["video_performance"].online
    assert (told.present, told.current) == (30, 29)
    assert told.lag_seconds >= HOUR / timedelta(seconds=1)
    engine.dispose()


def test_the_status_of_lists_in_which_no_channel_was_looked_at(database_url, schema):
    """A channel's rows are then made of its videos alone."""
    engine = open_warehouse(database_url, schema)
    seen = small_world("l")
    store(engine, world(seen.metadata.to_pylist(), seen.snapshots.to_pylist()))
    build(engine)
    views = {view.name: view for view in read_status(engine, None, NOON)}
    assert views["channel_track_record"].rows > 0
    assert views["channel_track_record"].lag_seconds == 0
    engine.dispose()


def test_the_commands_tell_it_to_people_and_to_machines(
    registry, database_url, schema, online, monkeypatch
):
    monkeypatch.setenv("FOREVIEW_DATABASE_URL", database_url)
    monkeypatch.setenv("FOREVIEW_DATABASE_SCHEMA", schema)
    monkeypatch.setenv("FOREVIEW_REDIS_URL", online)

    def run(*arguments):
        return CliRunner().invoke(features, arguments)

    planned = run("plan", "--exit-code")
    assert planned.exit_code == 1
    assert "+ view video_performance  view_count  Float64" in planned.output
    assert run("apply").exit_code == 0
    assert run("plan", "--exit-code").output == "nothing would change\n"
    assert json.loads(run("plan", "--json").output) == {
        "changes": [], "added": 0, "changed": 0, "removed": 0,
    }  # fmt: skip
    assert "no rows yet" in run("status").output
    assert set(json.loads(run("status", "--json").output)["views"]) == {
        "video_profile", "video_performance", "channel_track_record",
    }  # fmt: skip


def waits_for_a_lock(engine):
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with engine.connect() as connection:
        return connection.scalar(text(waiting)) > 0


@pytest.mark.parametrize("command", ["materialize", "backfill"])
def test_what_goes_is_not_brought_online_while_it_is_purged(
    database_url, schema, online, monkeypatch, command
):
    engine = open_warehouse(database_url, schema)
    store(engine, small_world("p"))
    build(engine)
    monkeypatch.setenv("FOREVIEW_DATABASE_URL", database_url)
    monkeypatch.setenv("FOREVIEW_DATABASE_SCHEMA", schema)
    monkeypatch.setenv("FOREVIEW_REDIS_URL", online)
    with Redis.from_url(online) as client, ThreadPoolExecutor(1) as threads:
        client.flushdb()
        with purging_alone(engine):
            run = threads.submit(CliRunner().invoke, features, [command])
            while not (run.done() or waits_for_a_lock(engine)):
                time.sleep(0.05)
            assert client.dbsize() == 0
            with engine.begin() as connection:
                for name in FEATURE_TABLES:
                    connection.execute(text(f"DELETE FROM {name}"))
        assert run.result().exit_code == 0
        assert client.dbsize() == 0
    engine.dispose()
