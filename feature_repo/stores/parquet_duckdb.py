"""Feast's DuckDB offline store over exported feature tables on a directory or S3.

Three things differ from Feast's own: rows that reached us after the moment asked about are never
seen, answers keep the order of the questions, and S3 is read through Arrow, without DuckDB's httpfs
extension, which it would fetch from the internet.
"""

from datetime import datetime
from typing import Any, Literal

import ibis
import pandas as pd
from feast import FeatureView, RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.ibis import (
    IbisRetrievalJob,
    get_historical_features_ibis,
    pull_all_from_table_or_query_ibis,
    pull_latest_from_table_or_query_ibis,
)
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from ibis.expr.types import Table

from feature_repo.tables_on_files import open_table

ROW_NUMBER = "foreview_row_number"


class ParquetDuckDBOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """The stock settings under this store's name."""

    type: Literal["feature_repo.stores.parquet_duckdb.ParquetDuckDBOfflineStore"] = (
        "feature_repo.stores.parquet_duckdb.ParquetDuckDBOfflineStore"
    )


class ParquetDuckDBOfflineStore(DuckDBOfflineStore):
    """Feast's DuckDB store, reading tables with Arrow; it only reads."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = True,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Join features to entity rows as they were known at each row's event timestamp.

        `filter_by_created_timestamp` is always on: late rows are never let into the past.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise TypeError("entity rows are given to DuckDB as a DataFrame")
        numbered = entity_df.assign(**{ROW_NUMBER: range(len(entity_df))})
        job = get_historical_features_ibis(
            config, feature_views, feature_refs, numbered, registry, project, _read, _refuse,
            full_feature_names, filter_by_created_timestamp=True,
        )  # fmt: skip
        assert isinstance(job, IbisRetrievalJob)
        job.table = job.table.order_by(ROW_NUMBER).drop(ROW_NUMBER)
        if job.metadata is not None:
            job.metadata.keys.remove(ROW_NUMBER)
        return job

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
        """Read each entity's latest row of a window: what `feast materialize` copies."""
        return pull_latest_from_table_or_query_ibis(
            config, data_source, join_key_columns, feature_name_columns, timestamp_field,
            created_timestamp_column, start_date, end_date, _read, _refuse,
        )  # fmt: skip

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
        """Read every row of a window."""
        return pull_all_from_table_or_query_ibis(
            config, data_source, join_key_columns, feature_name_columns, timestamp_field, _read,
            _refuse, created_timestamp_column, start_date, end_date,
        )  # fmt: skip


def _read(source: DataSource, _repository: str) -> Table:
    assert isinstance(source, FileSource)
    return ibis.memtable(open_table(source.path))


def _refuse(*_arguments: Any) -> None:
    raise NotImplementedError("exported tables are written by `foreview features export` alone")
