"""The same questions asked of history, of the online store, and of our own reader."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
from feast import FeatureStore

from feature_repo.request_fields import draft_arrays, float_columns
from feature_repo.transformations.declared import names
from feature_repo.transformations.request import CHANNEL_INPUTS, PUBLISHED_REQUEST_FEATURES
from serving.breaker import Breaker
from serving.draft_model import Drafts, describe
from serving.online_features import ReadPlan, RedisOnlineFeatures, StoredVector
from serving.redis_connection import RedisAddress
from serving.redis_servers import SingleServer

Features = dict[str, np.ndarray]


def historical(store: FeatureStore, service: str, rows: pd.DataFrame, as_of: datetime) -> Features:
    """Give a service's features at one moment for rows of keys and request fields, from history."""
    asked = rows.assign(event_timestamp=as_of, as_of=as_of)
    job = store.get_historical_features(asked, store.get_feature_service(service))
    return doubles(store, service, job.to_df())


def online(store: FeatureStore, service: str, rows: pd.DataFrame, as_of: datetime) -> Features:
    """Give the same from the online store, whose ages are told by a clock at that moment."""
    store.config.online_store.clock = as_of.isoformat()
    asked = [row | {"as_of": as_of} for row in rows.to_dict("records")]
    answer = store.get_online_features(store.get_feature_service(service), asked)
    return doubles(store, service, pd.DataFrame(answer.to_dict()))


def doubles(store: FeatureStore, service: str, table: pd.DataFrame) -> Features:
    """Give the features of a service from a table of answers, as doubles."""
    return {name: table[name].to_numpy(dtype=float) for name in feature_names(store, service)}


def feature_names(store: FeatureStore, service: str) -> list[str]:
    """Name every feature of a service."""
    projections = store.get_feature_service(service).feature_view_projections
    return [feature.name for projection in projections for feature in projection.features]


def read_directly(
    redis_url: str, plan: ReadPlan, video_ids: Sequence[str]
) -> list[StoredVector | None]:
    """Read videos by the server's own reader."""

    async def read() -> list[StoredVector | None]:
        server = SingleServer(RedisAddress.parse(redis_url))
        reader = RedisOnlineFeatures(server, 5.0, Breaker(lambda is_open: None))
        await reader.start()
        try:
            return await reader.read(plan, video_ids)
        finally:
            await reader.stop()

    return asyncio.run(read())


def stored_features(feature_store: FeatureStore) -> list[tuple[str, str]]:
    """Name every stored feature of published_v2 with its view."""
    service = feature_store.get_feature_service("published_v2")
    asked_for = set(names(PUBLISHED_REQUEST_FEATURES))
    return [
        (projection.name, feature.name)
        for projection in service.feature_view_projections
        for feature in projection.features
        if feature.name not in asked_for
    ]


def described_by_the_server(
    feature_store: FeatureStore, drafts: pd.DataFrame, as_of: datetime
) -> Features:
    """Give a draft's request features as the server builds them, from its channel's stored ones."""
    refs = [f"channel_track_record:{name}" for name in CHANNEL_INPUTS]
    keys = drafts[["channel_id"]].to_dict("records")
    stored = feature_store.get_online_features(refs, keys).to_df()
    channel = float_columns(stored, CHANNEL_INPUTS)
    moments = np.full(len(drafts), np.floor(as_of.timestamp()))
    return describe(Drafts(*draft_arrays(drafts), moments), channel)
