"""Opens the feature store that feature_store.yaml describes."""

import copy
import os
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import yaml

from feature_repo.errors import FeaturesInUse, FeatureStoreError, StoreNotConfigured

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from feast import FeatureService, FeatureStore, FeatureView
    from feast.data_source import DataSource
    from redis import Redis

REPOSITORY = Path(__file__).parent
EXPORTED = REPOSITORY / "parquet"
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def feast_environment(database_url: str, schema: str, redis_url: str) -> dict[str, str]:
    """Give the variables that feature_store.yaml needs, from the platform's own settings.

    Args:
        database_url: `postgresql://user:password@host:port/database`.
        schema: Schema of the feature tables; the registry's is beside it.
        redis_url: `redis://:password@host:port/0`.
    """
    database, redis = urlsplit(database_url), urlsplit(redis_url)
    query = [*parse_qsl(database.query), ("options", f"-csearch_path={schema}_registry")]
    registry = database._replace(scheme="postgresql+psycopg", query=urlencode(query))
    parts = [f"{redis.hostname}:{redis.port or 6379}"]
    parts += [f"password={unquote(redis.password)}"] if redis.password else []
    parts += [f"username={unquote(redis.username)}"] if redis.username else []
    parts += [f"db={redis.path.strip('/')}"] if redis.path.strip("/") else []
    parts += ["ssl=true"] if redis.scheme == "rediss" else []
    return {
        "FOREVIEW_FEAST_REGISTRY": registry.geturl(),
        "FOREVIEW_FEAST_HOST": database.hostname or "localhost",
        "FOREVIEW_FEAST_PORT": str(database.port or 5432),
        "FOREVIEW_FEAST_DATABASE": database.path.strip("/"),
        "FOREVIEW_FEAST_SCHEMA": schema,
        "FOREVIEW_FEAST_USER": unquote(database.username or ""),
        "FOREVIEW_FEAST_PASSWORD": unquote(database.password or ""),
        "FOREVIEW_FEAST_SSLMODE": dict(parse_qsl(database.query)).get("sslmode", "prefer"),
        "FOREVIEW_FEAST_REDIS": ",".join(parts),
    }


def open_feature_store(environment: Mapping[str, str] | None = None) -> "FeatureStore":
    """Open the store that feature_store.yaml describes.

    Args:
        environment: Values of its variables; the process environment when left out.

    Raises:
        StoreNotConfigured: A variable has no value.
    """
    from feast import FeatureStore, RepoConfig
    from sqlalchemy.pool import NullPool

    given = os.environ if environment is None else environment
    values = {"FOREVIEW_CLOCK": "system", **_with_platform_settings(given)}
    filled = _filled(REPOSITORY, values)
    # Feast never closes its registry: without a pool no connection outlives its query.
    filled["registry"]["sqlalchemy_config_kwargs"]["poolclass"] = NullPool
    return FeatureStore(config=RepoConfig(repo_path=REPOSITORY, **filled))


def open_exported_store(location: str, registry: Path) -> "FeatureStore":
    """Open and register a store over exported feature tables: history alone, without a server.

    Args:
        location: Where `foreview features export` wrote them: a directory or `s3://bucket/prefix`.
        registry: The file to keep Feast's registry in.

    Raises:
        NoFeatureTables: Nothing was exported there.
    """
    from feast import FeatureStore, RepoConfig

    from feature_repo.parquet.sources import on_files
    from feature_repo.tables_on_files import open_table

    objects = on_files(location)
    open_table(f"{location.rstrip('/')}/video_profile")  # else found out at the first question
    filled = _filled(EXPORTED, {"FOREVIEW_PARQUET_REGISTRY": str(registry)})
    store = FeatureStore(config=RepoConfig(repo_path=EXPORTED, **filled))
    _register(store, objects)
    return store


def _filled(directory: Path, values: Mapping[str, str]) -> dict[str, Any]:
    """Read the configuration in a directory with values in the place of its variables."""
    text = (directory / "feature_store.yaml").read_text()
    missing = sorted({name for name in _VARIABLE.findall(text) if name not in values})
    if missing:
        raise StoreNotConfigured(
            f"feature_store.yaml needs {', '.join(missing)}: run `foreview up`, then "
            '`eval "$(foreview env)"`, or set FOREVIEW_DATABASE_URL and FOREVIEW_REDIS_URL'
        )
    return _fill(yaml.safe_load(text), values)


def _with_platform_settings(given: Mapping[str, str]) -> Mapping[str, str]:
    """Derive the variables from the platform's own settings; those given by name go first."""
    database, redis = given.get("FOREVIEW_DATABASE_URL"), given.get("FOREVIEW_REDIS_URL")
    if not database or not redis:
        return given
    schema = given.get("FOREVIEW_DATABASE_SCHEMA", "foreview")
    return {**feast_environment(database, schema, redis), **given}


def _fill(node: object, values: Mapping[str, str]) -> dict[str, Any]:
    """Put values where the parsed file has variables: after parsing, so that none can add keys."""

    def fill(part: object) -> object:
        if isinstance(part, dict):
            return {key: fill(value) for key, value in part.items()}
        if isinstance(part, str):
            return _VARIABLE.sub(lambda match: values[match[1]], part)
        return part

    filled = fill(node)
    assert isinstance(filled, dict)
    return filled


def online_client(store: "FeatureStore") -> "Redis":
    """Give the store's own client of its online store.

    Raises:
        FeatureStoreError: The online store is not one Redis server.
    """
    from redis import Redis

    client = store._get_provider().online_store._get_client(store.config.online_store)
    if not isinstance(client, Redis):
        raise FeatureStoreError(
            "features are written to one Redis server, or the master of a Sentinel: materialize "
            "a cluster with `feast materialize` in feature_repo/"
        )
    return client


def apply(store: "FeatureStore", used_by: Mapping[str, Collection[str]] | None = None) -> None:
    """Register everything in the table of contents, as `feast apply` does.

    Args:
        store: The feature store.
        used_by: The models of each service that has any; when left out nobody was asked, and every
            service that is registered may have some.

    Raises:
        FeaturesInUse: A view or service would change that models use; nothing was changed.
    """
    from feature_repo import planning
    from feature_repo.repository import OBJECTS

    before = planning.registered(store)
    users = dict.fromkeys(before.services, ()) if used_by is None else used_by
    found = planning.changes(before, planning.declared())
    refused = planning.forbidden(found, before, users)
    if refused:
        raise FeaturesInUse(planning.refusal(refused, before, users))
    _register(store, OBJECTS)


def _register(store: "FeatureStore", objects: Sequence[Any]) -> None:
    with warnings.catch_warnings():
        # Feast calls on-demand views experimental at every apply; contract tests watch them here.
        warnings.simplefilter("ignore", RuntimeWarning)
        store.apply(list(objects))


def historical_statuses(
    store: "FeatureStore", service: "FeatureService", rows: "pd.DataFrame"
) -> "pd.DataFrame":
    """Give the status of each stored feature of a service at each row's moment.

    A view is asked twice, within its age limit and without one: what only the second finds is
    stale. Whether a row was found is told by a feature that its view never leaves null.

    Args:
        store: Its offline store is asked.
        service: Of ours; its request features have no status.
        rows: Join keys and `event_timestamp`, as for a historical retrieval.

    Returns:
        Texts of statuses.STATUSES, a column per feature, rows in their order.
    """
    import numpy as np
    import pandas as pd

    from feature_repo.statuses import AGE_LIMITS, MISSING_ENTITY, NULL, PRESENT, STALE, STATUSES

    asked = {
        part.name: [feature.name for feature in part.features]
        for part in service.feature_view_projections
        if part.name in AGE_LIMITS
    }
    views = [store.get_feature_view(name) for name in asked]
    never_null = {
        view.name: next(f.name for f in view.features if f.tags.get("null") == "never")
        for view in views
    }
    refs = [
        f"{view}:{feature}"
        for view, features in asked.items()
        for feature in dict.fromkeys([*features, never_null[view]])
    ]
    keys = {key for view in views for key in view.join_keys}
    questions = rows[[name for name in rows if name in keys or name == "event_timestamp"]]

    def answer(views: "list[FeatureView]") -> pd.DataFrame:
        job = store._get_provider().get_historical_features(
            store.config, views, refs, questions, store.registry, store.project, True
        )
        return job.to_df()

    limited, whole = answer(views), answer([_without_age_limit(view) for view in views])
    statuses = {}
    for view, features in asked.items():
        witness = f"{view}__{never_null[view]}"
        fresh, known = limited[witness].notna(), whole[witness].notna()
        for feature in features:
            told = np.where(limited[f"{view}__{feature}"].isna(), NULL, PRESENT)
            codes = np.where(fresh, told, np.where(known, STALE, MISSING_ENTITY))
            statuses[feature] = np.array(STATUSES)[codes]
    return pd.DataFrame(statuses, index=rows.index)


def _without_age_limit(view: "FeatureView") -> "FeatureView":
    lasting = copy.copy(view)
    lasting.ttl = timedelta(0)
    return lasting


def read_source(
    store: "FeatureStore", view: str, columns: Sequence[str], window: tuple[datetime, datetime]
) -> "pa.Table":
    """Read every row of a view's source with an event in [start, end), corrections included.

    Returns:
        The join keys, the columns asked for, the event and created timestamps; in no order.
    """
    definition = store.get_feature_view(view)
    return read_table(store, definition.batch_source, [*definition.join_keys, *columns], window)


def read_table(
    store: "FeatureStore",
    source: "DataSource",
    columns: Sequence[str],
    window: tuple[datetime, datetime],
) -> "pa.Table":
    """Read every row of a source with an event in [start, end), whether a view reads it or not.

    Returns:
        The columns asked for, and the source's two timestamps; in no order.
    """
    job = store._get_provider().offline_store.pull_all_from_table_or_query(
        config=store.config,
        data_source=source,
        join_key_columns=[],
        feature_name_columns=list(columns),
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        start_date=window[0],
        end_date=window[1] - timedelta(microseconds=1),
    )
    return job.to_arrow()
