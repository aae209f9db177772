"""Advisory locks of a warehouse: whoever could undo what another does waits for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text


@contextmanager
def alone_at_features(engine: Engine) -> Iterator[None]:
    """Keep other writers of the feature tables out: one could undo what another has read anew."""
    with _held(engine, "feature tables", ""):
        yield


@contextmanager
def exporting_alone(engine: Engine) -> Iterator[None]:
    """Wait for another export: both would write one file before it is put in its place."""
    with _held(engine, "export", ""):
        yield


@contextmanager
def between_purges(engine: Engine) -> Iterator[None]:
    """Keep purges out from before features are read until they are written, beside others."""
    with _held(engine, "purge", "_shared"):
        yield


@contextmanager
def purging_alone(engine: Engine) -> Iterator[None]:
    """Wait for those that read what is to go, or they would write it again."""
    with _held(engine, "purge", ""):
        yield


@contextmanager
def _held(engine: Engine, what: str, shared: str) -> Iterator[None]:
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
