"""PostgreSQL: a connection that works in the platform's schema and in UTC."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg

from observability.errors import DatabaseUnavailable, ObservabilityError

Connection = psycopg.Connection[tuple[Any, ...]]

_CONNECT_SECONDS = 5


@contextmanager
def connected(database_url: str, schema: str) -> Iterator[Connection]:
    """Give a connection with autocommit; `connection.transaction()` groups statements.

    Raises:
        DatabaseUnavailable: The server does not answer.
        ObservabilityError: The schema has no tables, or those of an older version.
    """
    options = f"-c search_path={schema} -c timezone=UTC"
    try:
        connection = psycopg.connect(
            database_url, autocommit=True, connect_timeout=_CONNECT_SECONDS, options=options
        )
    except psycopg.OperationalError as error:
        parts = urlsplit(database_url)
        raise DatabaseUnavailable(
            f"PostgreSQL at {parts.hostname}:{parts.port} does not answer: check "
            "FOREVIEW_DATABASE_URL"
        ) from error
    with connection:
        try:
            yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise ObservabilityError(
                f"the schema {schema} lacks a table of this version ({error.diag.message_primary}):"
                " run `foreview validate`, which brings the warehouse to its newest form"
            ) from error
