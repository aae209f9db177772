"""Our offline store gives the answers of Feast's own PostgreSQL store, rows in their order."""

from datetime import timedelta
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import (
    PostgreSQLSource,
)
from feast.types import Float64, String
from feast.value_type import ValueType
from pandas.testing import assert_frame_equal
from sqlalchemy import text

from ingestion.warehouse import open_warehouse
from tests.worlds import DAY, HOUR, NOON

OURS, FEASTS = "feature_repo.stores.as_of_postgres.AsOfPostgreSQLOfflineStore", "postgres"
FEATURES = ["short_lived:a", "short_lived:label", "lasting:b"]
TTL = 2 * DAY


def source(name):
    return PostgreSQLSource(
        name=name,
        table=name,
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


def definitions():
    video = Entity(name="video", join_keys=["video_id"], value_type=ValueType.STRING)
    channel = Entity(name="channel", join_keys=["channel_id"], value_type=ValueType.STRING)
    short_lived = FeatureView(
        name="short_lived",
        entities=[video],
        ttl=TTL,
        schema=[Field(name="a", dtype=Float64), Field(name="label", dtype=String)],
        source=source("short_lived"),
    )
    lasting = FeatureView(
        name="lasting",
        entities=[channel],
        ttl=timedelta(0),
        schema=[Field(name="b", dtype=Float64)],
        source=source("lasting"),
    )
    return [video, channel, short_lived, lasting]


def feature_rows(random, key, ids, columns):
    """Draw rows with many equal event times, many that were known late, and some nulls."""
    rows = {}
    for _ in range(250):
        event = NOON + random.integers(0, 30) * 6 * HOUR
        created = event + random.choice([0, 0, 1, 24, 60]) * HOUR
        rows[str(random.choice(ids)), event, created] = {
            name: None if random.random() < 0.1 else make(random) for name, make in columns.items()
        }
    return [
        {key: id_, "event_timestamp": event, "created_timestamp": created} | values
        for (id_, event, created), values in rows.items()
    ]


def asked(random, count=400):
    """Draw questions at, just before and between the events; some of ids that no row has."""
    moments = [
        NOON
        + random.integers(-4, 50) * 6 * HOUR
        + random.choice([-1, 0, 1]) * timedelta(microseconds=1)
        for _ in range(count)
    ]
    return pd.DataFrame(
        {
            "number": np.arange(count),
            "video_id": random.choice(["v1", "v2", "v3", "unknown"], count),
            "channel_id": random.choice(["c1", "c2", "unknown"], count),
            "event_timestamp": pd.to_datetime(moments, utc=True).astype("datetime64[us, UTC]"),
        }
    )


@pytest.fixture(scope="module")
def stores(database_url, module_schema, tmp_path_factory):
    """Our store and Feast's, over the same random rows and one registry."""
    random = np.random.default_rng(5)
    engine = open_warehouse(database_url, module_schema)
    with engine.begin() as connection:
        for name, key, columns in (
            ("short_lived", "video_id", "a double precision, label text"),
            ("lasting", "channel_id", "b double precision"),
        ):
            # Without an index: what answers are must not hang on the order of a scan.
            connection.execute(
                text(
                    f"CREATE TABLE {name} ({key} text, event_timestamp timestamptz, "
                    f"created_timestamp timestamptz, {columns})"
                )
            )
        number = {"b": lambda r: r.normal()}
        labels = {"a": lambda r: r.normal(), "label": lambda r: r.choice(["x", "ÿ 🎉", ""])}
        for name, rows in (
            ("short_lived", feature_rows(random, "video_id", ["v1", "v2", "v3"], labels)),
            (
                "lasting",
                feature_rows(random, "channel_id", ["c1", "c2"], number),
            ),
        ):
            pd.DataFrame(rows).to_sql(name, connection, if_exists="append", index=False)
    engine.dispose()
    directory = tmp_path_factory.mktemp("as_of")
    ours, feasts = (opened(kind, database_url, module_schema, directory) for kind in (OURS, FEASTS))
    ours.apply(definitions())
    return ours, feasts


def opened(kind, database_url, schema, directory):
    url = urlsplit(database_url)
    offline = {
        "type": kind,
        "host": url.hostname,
        "port": url.port,
        "database": url.path.strip("/"),
        "db_schema": schema,
        "user": url.username,
        "password": url.password,
        "sslmode": "disable",
    }
    return FeatureStore(
        config=RepoConfig(
            project="as_of",
            provider="local",
            registry=str(directory / "registry.db"),
            offline_store=offline,
            online_store={"type": "sqlite", "path": str(directory / "online.db")},
            entity_key_serialization_version=3,
        )
    )


def answers(store, rows, **options):
    job = store.get_historical_features(rows, FEATURES, filter_by_created_timestamp=True, **options)
    return job.to_df()


def in_order(frame, keys):
    """Sort rows; Feast's store gives moments without an offset, in UTC."""
    moments = [name for name in frame.columns if name.endswith("_timestamp")]
    utc = {name: pd.to_datetime(frame[name], utc=True).dt.as_unit("us") for name in moments}
    return frame.assign(**utc).sort_values(keys, ignore_index=True)


def test_both_stores_give_the_same_answers(stores):
    rows = asked(np.random.default_rng(8))
    ours, feasts = (answers(store, rows) for store in stores)
    feasts = in_order(feasts, ["number"])[list(ours.columns)]
    assert_frame_equal(in_order(ours, ["number"]), feasts, check_exact=True)
    assert 0.2 < ours["a"].notna().mean() < 0.8


def test_feature_names_are_prefixed_where_that_is_asked_for(stores):
    rows = asked(np.random.default_rng(9), 20)
    ours, feasts = (answers(store, rows, full_feature_names=True) for store in stores)
    assert set(ours.columns) == set(feasts.columns)
    assert "short_lived__a" in ours.columns


def test_rows_keep_their_order_their_number_and_their_columns(stores):
    rows = asked(np.random.default_rng(10)).sample(frac=1.0, random_state=1)
    rows = pd.concat([rows, rows.iloc[:7]])  # the same question twice is answered twice
    ours = answers(stores[0], rows)
    assert list(ours["number"]) == list(rows["number"])
    assert list(ours.columns[:4]) == list(rows.columns)


def test_what_nobody_knows_is_null(stores):
    ours = answers(stores[0], asked(np.random.default_rng(11)))
    assert ours.loc[ours["video_id"] == "unknown", ["a", "label"]].isna().all(axis=None)
    assert ours.loc[ours["channel_id"] == "unknown", "b"].isna().all()


def test_late_rows_stay_out_of_the_past_even_unasked(stores):
    rows = asked(np.random.default_rng(12))
    unasked = stores[0].get_historical_features(rows, FEATURES).to_df()
    assert_frame_equal(unasked, answers(stores[0], rows))
    let_in = stores[1].get_historical_features(rows, FEATURES).to_df()
    assert not let_in.sort_values("number", ignore_index=True)["a"].equals(unasked["a"])


# Feast hands pandas its own connection.
@pytest.mark.filterwarnings("ignore:pandas only supports SQLAlchemy:UserWarning")
def test_a_query_for_the_entity_rows_has_the_cut_too(stores):
    query = (
        "SELECT DISTINCT video_id, 'c1' AS channel_id, "
        "event_timestamp + interval '30 minutes' AS event_timestamp FROM short_lived"
    )
    keys = ["video_id", "event_timestamp"]
    ours = stores[0].get_historical_features(query, FEATURES).to_df()
    feasts = answers(stores[1], query)
    assert_frame_equal(in_order(ours, keys), in_order(feasts, keys), check_exact=True)


@pytest.mark.parametrize("naive", [False, True], ids=["another offset", "no offset"])
def test_moments_of_other_offsets_are_the_same_moments(naive, stores):
    rows = asked(np.random.default_rng(13))
    elsewhere = rows["event_timestamp"].dt.tz_convert(None if naive else "Asia/Tokyo")
    other = answers(stores[0], rows.assign(event_timestamp=elsewhere))
    assert_frame_equal(other[["a", "label", "b"]], answers(stores[0], rows)[["a", "label", "b"]])


@pytest.mark.parametrize("all_rows", [False, True], ids=["latest", "all"])
def test_both_stores_read_the_same_rows_of_a_window(all_rows, stores):
    def read(store):
        provider = store._get_provider().offline_store
        pull = (
            provider.pull_all_from_table_or_query
            if all_rows
            else provider.pull_latest_from_table_or_query
        )
        job = pull(
            config=store.config,
            data_source=source("short_lived"),
            join_key_columns=["video_id"],
            feature_name_columns=["a", "label"],
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
            start_date=NOON + DAY,
            end_date=NOON + 4 * DAY,
        )
        return in_order(job.to_df(), ["video_id", "event_timestamp", "created_timestamp"])

    ours, feasts = (read(store) for store in stores)
    assert_frame_equal(ours, feasts, check_exact=True)
    assert len(ours) == 3 or all_rows
