"""What serving believes of the feature views and the store, against Feast itself."""

import asyncio
from datetime import UTC, datetime

import numpy as np
import pytest
from feast import RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo import entities, feature_services, feature_views
from feature_repo.online_layout import JOIN_KEY_OF_VIEW, PROJECT
from feature_repo.store import feast_environment
from feature_repo.transformations.declared import names
from feature_repo.transformations.request import PUBLISHED_INPUTS, PUBLISHED_REQUEST_FEATURES
from serving import draft_model, model
from serving.breaker import Breaker
from serving.model import view_of_feature
from serving.online_features import ReadPlan, RedisOnlineFeatures
from serving.redis_connection import RedisAddress
from serving.redis_servers import SingleServer
from training import dataset

VIEWS = (
    feature_views.video_profile,
    feature_views.video_performance,
    feature_views.channel_track_record,
)


def test_each_view_is_read_by_its_join_key():
    join_key = {"video": entities.video.join_key, "channel": entities.channel.join_key}
    joined = {view.name: [join_key[name] for name in view.entities] for view in VIEWS}
    assert joined == {view: [key] for view, key in JOIN_KEY_OF_VIEW.items()}


@pytest.mark.parametrize("name", [*PUBLISHED_INPUTS, "like_count", "comment_count"])
def test_what_is_read_beside_the_columns_is_in_the_view_it_is_read_from(name):
    of_view = {view.name: {field.name for field in view.features} for view in VIEWS}
    assert name in of_view[view_of_feature()(name)]


@pytest.mark.parametrize("name", model.FEATURE_SERVICES)
def test_the_services_served_are_those_registered(name):
    projections = getattr(feature_services, name).feature_view_projections
    assert set(JOIN_KEY_OF_VIEW) | {"published_request"} == {p.name for p in projections}
    projection = next(p for p in projections if p.name == "published_request")
    assert {f.name for f in projection.features} == set(names(PUBLISHED_REQUEST_FEATURES))


def test_models_are_trained_on_what_is_served():
    assert model.FEATURE_SERVICES[0] == dataset.SERVICES["published"]
    assert draft_model.FEATURE_SERVICES[0] == dataset.SERVICES["draft"]


def test_the_project_is_the_one_in_the_layout():
    from pathlib import Path

    import yaml

    import feature_repo

    text = (Path(feature_repo.__file__).parent / "feature_store.yaml").read_text()
    assert yaml.safe_load(text)["project"] == PROJECT


AT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)


def test_what_the_sdk_wrote_is_read_back_exactly(redis_url):
    profile = {"channel_id": Value(string_val="UCsdk"), "world": Value(string_val="synthetic")}
    counts = {"view_count": Value(double_val=0.1), "like_count": Value()}
    _write(redis_url, feature_views.video_profile, "video_id", "sdk________", profile)
    _write(redis_url, feature_views.video_performance, "video_id", "sdk________", counts)
    record = {"channel_subscribers": Value(double_val=1e-320)}
    _write(redis_url, feature_views.channel_track_record, "channel_id", "UCsdk", record)
    plan = ReadPlan.of(
        [
            ("video_performance", "view_count"),
            ("video_performance", "like_count"),
            ("channel_track_record", "channel_subscribers"),
            ("channel_track_record", "channel_view_count"),
        ]
    )

    async def read():
        server = SingleServer(RedisAddress.parse(redis_url))
        features = RedisOnlineFeatures(server, 5.0, Breaker(lambda is_open: None))
        await features.start()
        vectors = await features.read(plan, ["sdk________", "sdk_unknown"])
        again = await features.read(plan, ["sdk________", "sdk_unknown"])  # in one round trip
        np.testing.assert_array_equal(again[0].values, vectors[0].values)
        await features.stop()
        return vectors

    vector, unknown = asyncio.run(read())
    assert unknown is None
    assert (vector.channel_id, vector.world) == ("UCsdk", "synthetic")
    np.testing.assert_array_equal(vector.values, [0.1, np.nan, 1e-320, np.nan])
    assert vector.event_times == [AT.timestamp()] * 3


def _write(redis_url, view, join_key, entity_id, values):
    connection = feast_environment("", "", redis_url)["FOREVIEW_FEAST_REDIS"]
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry="unused.db",
        online_store={"type": "redis", "connection_string": connection},
        entity_key_serialization_version=3,
    )
    key = EntityKey(join_keys=[join_key], entity_values=[Value(string_val=entity_id)])
    RedisOnlineStore().online_write_batch(config, view, [(key, values, AT, None)], None)
