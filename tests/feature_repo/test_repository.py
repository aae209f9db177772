"""What is registered with Feast, and the directory that Feast's own command line works in."""

import hashlib
import os
import subprocess
import sys
import urllib.parse
from fnmatch import fnmatch
from pathlib import Path

import pytest
from feast import FeatureService
from feast.repo_config import load_repo_config
from feast.types import Float64
from sqlalchemy import inspect

import feature_repo
from feature_repo import schemas
from feature_repo.errors import StoreNotConfigured
from feature_repo.on_demand_views import draft_request, published_request
from feature_repo.online_layout import JOIN_KEY_OF_VIEW, PROJECT, feature_fields
from feature_repo.repository import OBJECTS
from feature_repo.request_fields import draft_arrays
from feature_repo.sources import draft
from feature_repo.statuses import AGE_LIMITS
from feature_repo.store import feast_environment, open_feature_store
from feature_repo.transformations.declared import names
from feature_repo.transformations.profile import DRAFT_FEATURES
from feature_repo.transformations.request import (
    DRAFT_REQUEST_FEATURES,
    PUBLISHED_REQUEST_FEATURES,
)
from ingestion.warehouse import open_warehouse

DIRECTORY = Path(feature_repo.__file__).parent
STORED = {
    view.name: view
    for view in OBJECTS
    if view.name in schemas.FEATURE_TABLES and hasattr(view, "ttl")
}
SERVICES = {one.name: one for one in OBJECTS if isinstance(one, FeatureService)}
URL = "postgresql://me:pass%40word@db.example:5433/videos?sslmode=require"


def test_feast_finds_one_module_only():
    ignored = (DIRECTORY / ".feastignore").read_text().split()
    modules = {
        str(path.relative_to(DIRECTORY))
        for path in DIRECTORY.rglob("*.py")
        if "__pycache__" not in path.parts
    }
    found = {
        module
        for module in modules
        if not any(fnmatch(module, name) or module.startswith(f"{name}/") for name in ignored)
    }
    assert found == {"repository.py"}
    assert all((DIRECTORY / name).exists() for name in ignored)


def test_everything_that_is_registered_is_owned_and_described():
    for registered in OBJECTS:
        assert registered.owner == "foreview", registered.name
        # A table of features is described by its view.
        assert registered.description or registered.name in schemas.FEATURE_TABLES, registered.name


def test_every_stored_view_is_online_and_has_its_age_limit():
    assert set(STORED) == set(schemas.FEATURE_TABLES) == set(AGE_LIMITS)
    for view in STORED.values():
        assert view.ttl == AGE_LIMITS[view.name]
        assert view.online
        assert view.description


def test_every_stored_feature_says_what_it_is_and_when_it_is_null():
    for view in STORED.values():
        for field in view.features:
            assert field.description, field.name
            if field.dtype == Float64:
                assert {"unit", "null"} <= set(field.tags), field.name


def test_an_indicator_is_a_feature_beside_the_one_it_tells_of():
    told = {
        field.name: field.tags["indicator"]
        for view in STORED.values()
        for field in view.features
        if "indicator" in field.tags
    }
    assert told == {
        "like_count": "are_likes_hidden",
        "comment_count": "are_comments_off",
        "channel_subscribers": "are_subscribers_hidden",
    }
    for view in STORED.values():
        of_view = {field.name for field in view.features}
        assert {told[name] for name in of_view & set(told)} <= of_view


def test_every_request_feature_is_documented_on_its_view():
    for view, features in (
        (published_request, PUBLISHED_REQUEST_FEATURES),
        (draft_request, (*DRAFT_FEATURES, *DRAFT_REQUEST_FEATURES)),
    ):
        assert tuple(field.name for field in view.features) == names(features)
        assert set(names(features)) == set(view.tags)


def test_views_have_the_columns_of_their_tables():
    for name, view in STORED.items():
        key = schemas.FEATURE_TABLES[name].names[0]
        columns = {key, "event_timestamp", "created_timestamp"} | {f.name for f in view.features}
        assert columns == set(schemas.FEATURE_TABLES[name].names)
        assert JOIN_KEY_OF_VIEW[name] == key


@pytest.mark.parametrize("service", SERVICES)
def test_no_two_columns_of_an_answer_share_a_name(service):
    features = [
        feature.name
        for projection in SERVICES[service].feature_view_projections
        for feature in projection.features
    ]
    asked = [field.name for field in draft.schema] if service.startswith("draft") else ["as_of"]
    every = [*features, *asked, "video_id", "channel_id", "event_timestamp"]
    assert len(every) == len(set(every))


def test_there_are_forty_features_and_more():
    counts = {
        name: sum(len(p.features) for p in service.feature_view_projections)
        for name, service in SERVICES.items()
    }
    assert set(counts) == {"published_v1", "draft_v1", "published_v2", "draft_v2"}
    assert min(counts.values()) >= 40


# Of what each version lists, in its order: models were trained on it.
RELEASED = {
    "published_v1": "eff28693be9cae96",
    "draft_v1": "6ddeea834b2fbc09",
    "published_v2": "96210090cfe2b939",
    "draft_v2": "ba3761de13393f9b",
}


@pytest.mark.parametrize("service", RELEASED)
def test_the_list_of_a_version_never_changes(service):
    """A change of a list is a new version, with a line of its own above."""
    assert listed(SERVICES[service]) == RELEASED[service]


def listed(service):
    names = [f"{p.name}:{f.name}" for p in service.feature_view_projections for f in p.features]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def test_models_are_told_ages_and_not_dates():
    moments = {
        f.name for v in STORED.values() for f in v.features if f.tags.get("unit") == "epoch seconds"
    }
    assert moments == {"published_at", "observed_at", "first_observed_at", "channel_last_upload_at"}
    for service in SERVICES.values():
        for projection in service.feature_view_projections:
            assert not moments & {feature.name for feature in projection.features}


def test_no_two_features_share_a_field_online():
    feature_fields([(view.name, field.name) for view in STORED.values() for field in view.features])


def test_a_drafts_request_fields_are_all_read():
    import pandas as pd

    frame = pd.DataFrame({field.name: [] for field in draft.schema if field.name != "as_of"})
    assert [len(part) for part in draft_arrays(frame)] == [0] * 5


def test_feature_tables_are_what_their_schemas_say(database_url, schema):
    engine = open_warehouse(database_url, schema)
    kinds = {"TEXT": "string", "TIMESTAMP": "timestamp[us, tz=UTC]", "DOUBLE PRECISION": "double"}
    for name, expected in schemas.FEATURE_TABLES.items():
        columns = inspect(engine).get_columns(name, schema=schema)
        assert [column["name"] for column in columns] == expected.names
        assert [kinds[str(column["type"])] for column in columns] == [
            str(t) for t in expected.types
        ]
        assert [column["nullable"] for column in columns] == [field.nullable for field in expected]
        key = inspect(engine).get_pk_constraint(name, schema=schema)["constrained_columns"]
        assert key == expected.names[:3]
    engine.dispose()


def test_a_store_without_settings_says_which_are_missing_and_what_to_run():
    with pytest.raises(StoreNotConfigured, match=r"FOREVIEW_FEAST_HOST.*foreview up"):
        open_feature_store({})


def test_settings_of_the_platform_become_those_of_feast():
    told = feast_environment(URL, "mine", "redis://:se%2Ccret@cache.example/3")
    assert told["FOREVIEW_FEAST_HOST"] == "db.example"
    assert told["FOREVIEW_FEAST_PORT"] == "5433"
    assert told["FOREVIEW_FEAST_DATABASE"] == "videos"
    assert told["FOREVIEW_FEAST_SCHEMA"] == "mine"
    assert told["FOREVIEW_FEAST_PASSWORD"] == "pass@word"
    assert told["FOREVIEW_FEAST_SSLMODE"] == "require"
    assert told["FOREVIEW_FEAST_REDIS"] == "cache.example:6379,password=se,cret,db=3"
    registry = urllib.parse.urlsplit(told["FOREVIEW_FEAST_REGISTRY"])
    assert registry.scheme == "postgresql+psycopg"
    assert urllib.parse.parse_qs(registry.query)["options"] == ["-csearch_path=mine_registry"]


def test_the_store_is_opened_with_the_project_that_keys_online_carry(
    database_url, redis_url, empty_schema
):
    store = open_feature_store(feast_environment(database_url, empty_schema, redis_url))
    assert store.project == PROJECT
    assert store.config.offline_store.db_schema == empty_schema


@pytest.mark.parametrize("clock", ["system", "2026-02-28T11:16:49Z", "http://127.0.0.1:1"])
def test_feast_reads_its_file_whatever_texts_its_variables_hold(
    monkeypatch, database_url, redis_url, empty_schema, clock
):
    environment = feast_environment(database_url, empty_schema, redis_url)
    told = {"FOREVIEW_CLOCK": clock, "FOREVIEW_FEAST_PASSWORD": "0123456"}
    for name, value in (environment | told).items():
        monkeypatch.setenv(name, value)
    config = load_repo_config(DIRECTORY, DIRECTORY / "feature_store.yaml")
    assert config.online_store.clock == clock
    assert config.offline_store.password == "0123456"


@pytest.mark.full
def test_feasts_command_line_works_in_the_directory(database_url, redis_url, schema):
    environment = os.environ | feast_environment(database_url, schema, redis_url)

    def feast(*arguments):
        command = [str(Path(sys.executable).parent / "feast"), *arguments]
        done = subprocess.run(
            command, cwd=DIRECTORY, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    planned = feast("plan")
    assert "channel_track_record" in planned
    applied = feast("apply")
    assert "Deploying infrastructure for video_performance" in applied
    again = feast("plan")
    assert "No changes" in again
    assert "published_v2" in feast("feature-services", "list")
