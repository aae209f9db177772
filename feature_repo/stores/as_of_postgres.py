"""PostgreSQL offline store whose historical join looks each row up by key, as of its moment.

Feast's own query ranks every feature row of every entity before it picks one. Feature tables have
a unique index on (key, event_timestamp, created_timestamp), so that one descending look-up per
entity row answers the same question; Arrow comes and goes through ADBC. Rows that reached us after
the moment asked about are never seen: the cut by created timestamp is not an option here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

import adbc_driver_postgresql.dbapi as adbc
import pandas as pd
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    PostgreSQLOfflineStore,
    PostgreSQLOfflineStoreConfig,
    PostgreSQLRetrievalJob,
)
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import (
    FeatureViewQueryContext,
    assert_expected_columns_in_entity_df,
    get_expected_join_keys,
    get_feature_view_query_context,
    infer_event_timestamp_from_entity_df,
)
from feast.infra.registry.base_registry import BaseRegistry

ENTITY_ROWS = "foreview_entity_rows"
ROW_NUMBER = "foreview_row_number"


class AsOfPostgreSQLOfflineStoreConfig(PostgreSQLOfflineStoreConfig):
    """The stock settings under this store's name."""

    type: Literal["feature_repo.stores.as_of_postgres.AsOfPostgreSQLOfflineStore"] = (
        "feature_repo.stores.as_of_postgres.AsOfPostgreSQLOfflineStore"
    )


class AsOfPostgreSQLOfflineStore(PostgreSQLOfflineStore):
    """Feast's PostgreSQL store with an indexed as-of join; the rest is inherited."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = True,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Join features to entity rows as they were known at each row's event timestamp.

        `entity_df` is a frame with the join keys and `event_timestamp`, its rows keep their order;
        a query or None goes to Feast's own join. `filter_by_created_timestamp` is always on: late
        rows are never let into the past. The rest is as in Feast.
        """
        if not isinstance(entity_df, pd.DataFrame):
            return PostgreSQLOfflineStore.get_historical_features(
                config, feature_views, feature_refs, entity_df, registry, project,
                full_feature_names, filter_by_created_timestamp=True, **kwargs,
            )  # fmt: skip
        moment = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        keys = get_expected_join_keys(project, feature_views, registry)
        assert_expected_columns_in_entity_df(dict(entity_df.dtypes), keys, moment)
        times = pd.to_datetime(entity_df[moment], utc=True)
        views = get_feature_view_query_context(
            feature_refs, feature_views, registry, project, (times.min(), times.max())
        )
        return AsOfRetrievalJob(
            entity_rows=_entity_rows(entity_df, moment),
            query=as_of_query(list(entity_df.columns), moment, views, full_feature_names),
            config=config,
            full_feature_names=full_feature_names,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(
                feature_refs, project, registry
            ),
            metadata=_metadata(feature_refs, entity_df, moment, times),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Read each entity's latest row of a window; the answer can be read in batches.

        Feast's own query sorts whole rows, whose many columns do not fit in memory: here their
        keys and times are sorted, and the rows that were chosen are then looked up.
        """
        times = [name for name in (timestamp_field, created_timestamp_column) if name]
        keys = ", ".join(map(_quoted, join_key_columns))
        newest = ", ".join(f"{_quoted(name)} DESC" for name in times)
        named = ", ".join(map(_quoted, [*join_key_columns, *times]))
        wanted = dict.fromkeys([*join_key_columns, *feature_name_columns, *times])
        table = data_source.get_table_query_string()
        query = (
            f"SELECT {', '.join(f't.{_quoted(name)}' for name in wanted)} FROM {table} t JOIN ("
            f"SELECT DISTINCT ON ({keys}) {named} FROM {table}"
            f" WHERE {_quoted(timestamp_field)} BETWEEN '{start_date.isoformat()}'::timestamptz"
            f" AND '{end_date.isoformat()}'::timestamptz ORDER BY {keys}, {newest}"
            f") latest USING ({named})"
        )
        return AsOfRetrievalJob(None, query, config, full_feature_names=False)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Read every row of a window through ADBC, by Feast's own query."""
        job = PostgreSQLOfflineStore.pull_all_from_table_or_query(
            config, data_source, join_key_columns, feature_name_columns, timestamp_field,
            created_timestamp_column, start_date, end_date,
        )  # fmt: skip
        return AsOfRetrievalJob(None, job.to_sql(), config, full_feature_names=False)


class AsOfRetrievalJob(PostgreSQLRetrievalJob):
    """A query, with the entity rows it joins to, that answers in Arrow."""

    def __init__(
        self,
        entity_rows: pa.Table | None,
        query: str,
        config: RepoConfig,
        full_feature_names: bool,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        super().__init__(query, config, full_feature_names, on_demand_feature_views, metadata)
        self._entity_rows = entity_rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give the answer part by part, of some megabytes each, as it comes in."""
        with self._query_generator() as query, _cursor(self.config.offline_store) as cursor:
            cursor.execute(query)
            yield from cursor.fetch_record_batch()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        with self._query_generator() as query, _cursor(self.config.offline_store) as cursor:
            if self._entity_rows is not None:
                cursor.adbc_ingest(ENTITY_ROWS, self._entity_rows, mode="create", temporary=True)
                cursor.execute(f"ANALYZE {ENTITY_ROWS}")
            cursor.execute(query)
            table = cursor.fetch_arrow_table()
        if ROW_NUMBER in table.column_names:
            table = table.drop_columns([ROW_NUMBER])
        return table.replace_schema_metadata(None)


def as_of_query(
    columns: Sequence[str],
    moment: str,
    views: Sequence[FeatureViewQueryContext],
    full_feature_names: bool,
) -> str:
    """Write the join: for each entity row and view, its newest row then known, within the ttl."""
    joins, outputs = [], [f"e.{_quoted(column)}" for column in columns]
    for number, view in enumerate(views):
        alias = f"v{number}"
        joins.append(_latest_known(view, alias, moment))
        for feature in view.features:
            name = f"{view.name}__{feature}" if full_feature_names else feature
            stored = view.field_mapping.get(feature, feature)
            outputs.append(f"{alias}.{_quoted(stored)} AS {_quoted(name)}")
    order = f"e.{_quoted(ROW_NUMBER)}"
    return (
        f"SELECT {', '.join([*outputs, order])}\nFROM {ENTITY_ROWS} e\n"
        + "\n".join(joins)
        + f"\nORDER BY {order}"
    )


def _latest_known(view: FeatureViewQueryContext, alias: str, moment: str) -> str:
    asked = f"e.{_quoted(moment)}"
    event = f"f.{_quoted(view.timestamp_field)}"
    conditions = [f"{event} <= {asked}"]
    for selection in view.entity_selections:
        key, _, entity = selection.partition(" AS ")
        conditions.append(f"f.{_quoted(key)} = e.{_quoted(entity or key)}")
    if view.ttl:
        conditions.append(f"{event} >= {asked} - interval '{int(view.ttl)} seconds'")
    order = [f"{event} DESC"]
    if view.created_timestamp_column:
        created = f"f.{_quoted(view.created_timestamp_column)}"
        conditions.append(f"{created} <= {asked}")
        order.append(f"{created} DESC")
    return (
        f"LEFT JOIN LATERAL (SELECT * FROM {view.table_subquery} f"
        f" WHERE {' AND '.join(conditions)} ORDER BY {', '.join(order)} LIMIT 1) {alias} ON true"
    )


def _entity_rows(entity_df: pd.DataFrame, moment: str) -> pa.Table:
    """Give the entity rows with their order and their moment as an instant in UTC."""
    frame = entity_df.assign(**{moment: pd.to_datetime(entity_df[moment], utc=True)})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    instants = table[moment].cast(pa.timestamp("us", tz="UTC"), safe=False)
    table = table.set_column(table.schema.get_field_index(moment), moment, instants)
    return table.append_column(ROW_NUMBER, pa.array(range(len(table)), pa.int64()))


def _metadata(
    feature_refs: list[str], entity_df: pd.DataFrame, moment: str, times: "pd.Series[pd.Timestamp]"
) -> RetrievalMetadata:
    return RetrievalMetadata(
        features=feature_refs,
        keys=[column for column in entity_df.columns if column != moment],
        min_event_timestamp=times.min(),
        max_event_timestamp=times.max(),
    )


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


@contextmanager
def _cursor(store: PostgreSQLOfflineStoreConfig) -> Iterator[Any]:
    query = {
        "options": f"-csearch_path={store.db_schema} -cTimeZone=UTC",
        "sslmode": store.sslmode or "prefer",
    }
    login = f"{quote(store.user, safe='')}:{quote(store.password, safe='')}"
    address = f"postgresql://{login}@{store.host}:{store.port}/{store.database}"
    with (
        adbc.connect(f"{address}?{urlencode(query, quote_via=quote)}") as connection,
        connection.cursor() as cursor,
    ):
        yield cursor
