"""Waits for PostgreSQL to come back, so that a restart of it does not end a collection."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg2
from sqlalchemy.exc import DBAPIError

from ingestion.errors import WarehouseUnavailable

Result = TypeVar("Result")

# Some two minutes in all: a server that crashed has recovered by then, or needs a person.
_TRIES = 12
_LONGEST_SECONDS = 16.0


def through_outages(
    act: Callable[[], Result], *, tries: int = _TRIES, sleep: Callable[[float], None] = time.sleep
) -> Result:
    """Do something with PostgreSQL, again after a growing random wait while it does not answer.

    Args:
        act: A whole transaction that may be repeated: it must not matter whether an attempt whose
            connection was lost had been committed.
        tries: How often.
        sleep: Waits.

    Raises:
        WarehouseUnavailable: It did not come back in time.
    """
    for number in range(tries):
        try:
            return act()
        except (DBAPIError, psycopg2.Error) as error:
            if not is_outage(error):
                raise
            if number == tries - 1:
                raise WarehouseUnavailable(
                    "PostgreSQL does not answer: check FOREVIEW_DATABASE_URL and its log"
                ) from error
        sleep(random.uniform(0.5, 1.0) * min(0.1 * 2**number, _LONGEST_SECONDS))
    raise AssertionError("unreachable")


def is_outage(error: DBAPIError | psycopg2.Error) -> bool:
    """Tell a server that is gone or starting from one that refuses what it was told.

    What COPY meets is psycopg2's own error: SQLAlchemy does not see it.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg2.InterfaceError):
        return True  # the connection is closed already
    if not isinstance(cause, psycopg2.OperationalError):
        return False
    state = cause.pgcode
    # 57P..: shutting down, crashed, starting; 08...: the connection; none: there is no server.
    return state is None or state.startswith(("57P", "08"))
