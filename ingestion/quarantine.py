"""Rows that failed validation, kept with the reasons and a pointer to the raw response."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import execute_values
from sqlalchemy import Connection, Engine


@dataclass(frozen=True)
class Rejected:
    """An item or row that was refused.

    Attributes:
        raw_ref: The landed response or file it came from.
        item: The item as received, or the row's columns.
        reasons: Why, each a short name such as `view_count_negative`; never empty.
    """

    raw_ref: str
    item: Mapping[str, Any]
    reasons: tuple[str, ...]


def quarantine(
    database: Engine | Connection,
    rejected: Sequence[Rejected],
    *,
    world: str,
    source: str,
    quarantined_at: datetime,
) -> int:
    """Keep refused rows, each once per raw response; give how many were new."""
    if not rejected:
        return 0
    rows = [
        (world, source, r.raw_ref, storable(r.item), list(r.reasons), quarantined_at)
        for r in rejected
    ]
    transaction = (
        contextlib.nullcontext(database) if isinstance(database, Connection) else database.begin()
    )
    with transaction as connection:
        new = execute_values(
            connection.connection.cursor(),
            "INSERT INTO quarantine (world, source, raw_ref, item, reasons, quarantined_at) "
            "VALUES %s ON CONFLICT DO NOTHING RETURNING quarantine_id",
            rows,
            fetch=True,
        )
    return len(new)


def storable(item: Mapping[str, Any]) -> str:
    """Write an item as it is kept: JSON, without what a database cannot hold."""
    return json.dumps(_cleaned(item), default=str, sort_keys=True)


def _cleaned(value: Any) -> Any:
    """Replace what jsonb cannot hold (NUL, halves of surrogate pairs, NaN); the landing has it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return None if isinstance(value, float) and value != value else value
