"""A warehouse and a feature store for all tests of a module, on a Redis database of its own."""

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis
from feast import FeatureStore
from sqlalchemy import Engine, text

from feature_repo.store import apply, feast_environment, open_feature_store
from ingestion.warehouse import migrate, open_warehouse

# Every test's Feast project is `foreview`: what keeps their keys apart is the database.
REDIS_DATABASE = 7


@pytest.fixture(scope="module")
def module_schema(database_url: str) -> Iterator[str]:
    """A migrated schema for the module, dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    migrate(database_url, name)
    yield name
    engine = open_warehouse(database_url, name)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE; DROP SCHEMA {name}_registry CASCADE"))
    engine.dispose()


@pytest.fixture(scope="module")
def warehouse(database_url: str, module_schema: str) -> Iterator[Engine]:
    """The module's warehouse."""
    engine = open_warehouse(database_url, module_schema)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def online_url(redis_url: str) -> Iterator[str]:
    """The address of a Redis database that is empty at the start of the module."""
    url = urlsplit(redis_url)._replace(path=f"/{REDIS_DATABASE}").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture(scope="module")
def feature_store(database_url: str, module_schema: str, online_url: str) -> Iterator[FeatureStore]:
    """The platform's feature store over the module's schema, applied."""
    store = open_feature_store(feast_environment(database_url, module_schema, online_url))
    apply(store)
    yield store
    for engine in (store.registry.read_engine, store.registry.write_engine):
        engine.dispose()
