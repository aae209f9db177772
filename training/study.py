"""PostgreSQL as the keeper of Optuna's studies."""

from typing import TYPE_CHECKING

import psycopg

from training.settings import TUNING_SCHEMA, TrainingSettings

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


def open_storage(settings: TrainingSettings) -> "RDBStorage | None":
    """Open the store of studies, in a schema of its own; None where no PostgreSQL is set.

    The trial of a worker that died stays unfinished and counts for nothing.
    """
    from optuna.storages import RDBStorage

    if settings.database_url is None or settings.tuning_storage is None:
        return None
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {TUNING_SCHEMA}".encode())
    return RDBStorage(settings.tuning_storage)
