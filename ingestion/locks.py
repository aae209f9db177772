"""Advisory locks of a warehouse: whoever could undo what another does waits for it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Engine, text


def alone_at_features(engine: Engine) -> AbstractContextManager[None]:
    """Keep other writers of the feature tables out: one could undo what another has read anew."""
    return _held(engine, "feature tables")


def exporting_alone(engine: Engine) -> AbstractContextManager[None]:
    """Wait for another export: both would write one file before it is put in its place."""
    return _held(engine, "export")


def between_purges(engine: Engine) -> AbstractContextManager[None]:
    """Keep purges out from before features are read until they are written, beside others."""
    return _held(engine, "purge", "_shared")


def purging_alone(engine: Engine) -> AbstractContextManager[None]:
    """Wait for those that read what is to go, or they would write it again."""
    return _held(engine, "purge")


@contextmanager
def _held(engine: Engine, what: str, shared: str = "") -> Iterator[None]:
    lock, unlock = (
        text(f"SELECT pg_advisory_{verb}{shared}(hashtext(current_schema() || ' {what}'))")
        for verb in ("lock", "unlock")
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(lock)
        try:
            yield
        finally:
            connection.execute(unlock)
