"""The definitions of the feature store with exported tables as their sources."""

import copy

from feast import FeatureService, FeatureView, FileSource, OnDemandFeatureView
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.feature_view_projection import FeatureViewProjection

from feature_repo.entities import OWNER
from feature_repo.repository import OBJECTS
from feature_repo.tables_on_files import s3_endpoint


def on_files(location: str) -> list[object]:
    """Give everything that is registered with Feast, its tables read from `location`.

    Views, services and on-demand views stay those of `feature_repo.repository`: what differs is
    where rows lie, never what a feature means.

    Args:
        location: A directory or `s3://bucket/prefix`, as given to `foreview features export`.
    """
    sources = {
        view.name: _source(view.batch_source, location)
        for view in OBJECTS
        if isinstance(view, FeatureView)
    }
    return [_rebound(registered, sources) for registered in OBJECTS if not _is_table(registered)]


def _is_table(registered: object) -> bool:
    """Tell tables of PostgreSQL from what a caller sends along: only those are elsewhere here."""
    return isinstance(registered, DataSource) and bool(registered.timestamp_field)


def _source(table: DataSource, location: str) -> FileSource:
    return FileSource(
        name=table.name,
        path=f"{location.rstrip('/')}/{table.name}",
        file_format=ParquetFormat(),
        timestamp_field=table.timestamp_field,
        created_timestamp_column=table.created_timestamp_column,
        s3_endpoint_override=s3_endpoint() if location.startswith("s3://") else None,
        owner=OWNER,
    )


def _rebound(registered: object, sources: dict[str, FileSource]) -> object:
    if isinstance(registered, FeatureView):
        view = copy.copy(registered)
        view.batch_source = sources[view.name]
        view.projection = _projection(view.projection, sources)
        return view
    if isinstance(registered, OnDemandFeatureView):
        on_demand = copy.copy(registered)
        on_demand.source_feature_view_projections = {
            name: _projection(projection, sources)
            for name, projection in registered.source_feature_view_projections.items()
        }
        return on_demand
    if isinstance(registered, FeatureService):
        service = copy.copy(registered)
        service.feature_view_projections = [
            _projection(projection, sources) for projection in registered.feature_view_projections
        ]
        return service
    return registered


def _projection(
    projection: FeatureViewProjection, sources: dict[str, FileSource]
) -> FeatureViewProjection:
    moved = copy.copy(projection)
    if moved.name in sources:
        moved.batch_source = sources[moved.name]
    return moved
