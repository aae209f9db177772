"""Appends observations so that the table is the same in whatever order they come."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, text

from ingestion.copying import copy_in

# What became of each row, in the order handed in.
Outcomes = NDArray[np.uint8]
LOADED, DUPLICATE, CONFLICTING = 0, 1, 2


@dataclass(frozen=True)
class AppendCounts:
    """What became of appended rows; the three add up to the rows handed in.

    Attributes:
        loaded: Rows whose key was new.
        duplicate: Rows that were there already, or came twice.
        conflicting: Rows that said something else about the same moment; one of the two was kept.
    """

    loaded: int = 0
    duplicate: int = 0
    conflicting: int = 0

    def __add__(self, other: "AppendCounts") -> "AppendCounts":
        return AppendCounts(
            self.loaded + other.loaded,
            self.duplicate + other.duplicate,
            self.conflicting + other.conflicting,
        )


def append_observations(
    connection: Connection,
    name: str,
    table: pa.Table,
    *,
    key: Sequence[str],
    counts: Sequence[str],
    ties: Sequence[str],
) -> Outcomes:
    """Append rows in one transaction; give what became of each.

    Of rows with one key the largest is kept, compared by `counts` in order, then by `ties`; null is
    the smallest. Which copy of equal rows is kept (its raw_ref, its loaded_at) is not defined.
    """
    if _copied(connection, name, table, key):
        return np.full(table.num_rows, LOADED, dtype=np.uint8)
    stage(connection, name, table)
    rank = [f"coalesce({{0}}.{c}, -1)" for c in counts] + [f"coalesce({{0}}.{c}, '')" for c in ties]
    keys, order = ", ".join(key), ", ".join(f"{r.format('incoming')} DESC" for r in rank)
    connection.execute(
        text(
            "DROP TABLE IF EXISTS pg_temp.best; CREATE TEMP TABLE best ON COMMIT DROP AS "
            f"SELECT DISTINCT ON ({keys}) * FROM incoming ORDER BY {keys}, {order}, position"
        )
    )
    connection.execute(text(f"ANALYZE best ({keys})"))
    outcomes = np.full(table.num_rows, DUPLICATE, dtype=np.uint8)
    loaded = _positions(connection, _insert(name, table.column_names, keys))
    outcomes[loaded] = LOADED
    if len(loaded) < table.num_rows:
        replace = _replace_smaller(name, table.column_names, key, rank, counts)
        outcomes[_positions(connection, replace)] = CONFLICTING
        outcomes[_positions(connection, _find_differing(name, keys, counts))] = CONFLICTING
    return outcomes


def _copied(connection: Connection, name: str, table: pa.Table, key: Sequence[str]) -> bool:
    """Try to copy rows straight in, as what was just observed is new; False leaves no trace."""
    if table.group_by(list(key), use_threads=False).aggregate([]).num_rows < table.num_rows:
        return False
    # One order for all writers: of two that bring the same rows, each could wait for the other.
    ordered = table.sort_by([(column, "ascending") for column in key])
    try:
        with connection.begin_nested():
            copy_in(connection, name, ordered)
    except UniqueViolation:
        return False
    return True


def tally(outcomes: Outcomes) -> AppendCounts:
    """Count what became of the rows."""
    loaded, duplicate, conflicting = np.bincount(outcomes, minlength=3)[:3].tolist()
    return AppendCounts(loaded, duplicate, conflicting)


def stage(connection: Connection, name: str, table: pa.Table) -> None:
    """Copy rows into the temporary table `incoming`, shaped like `name`, gone at the commit.

    A column `position` numbers them.
    """
    columns = _names(table.column_names)
    connection.execute(
        text(
            "DROP TABLE IF EXISTS pg_temp.incoming; CREATE TEMP TABLE incoming ON COMMIT DROP AS "
            f"SELECT {columns}, 0 AS position FROM {name} WITH NO DATA"
        )
    )
    positions = pa.array(np.arange(table.num_rows, dtype=np.int32))
    copy_in(connection, "incoming", table.append_column("position", positions))
    connection.execute(text(f"ANALYZE incoming ({columns.split(', ')[0]}, observed_at)"))


def _positions(connection: Connection, query: str) -> NDArray[np.int64]:
    return np.array([row[0] for row in connection.execute(text(query))], dtype=np.int64)


def _insert(name: str, columns: Sequence[str], keys: str) -> str:
    return (
        f"WITH inserted AS (INSERT INTO {name} ({_names(columns)}) SELECT {_names(columns)} "
        f"FROM best ORDER BY {keys} ON CONFLICT DO NOTHING RETURNING {keys}) "
        f"SELECT position FROM inserted JOIN best USING ({keys})"
    )


def _replace_smaller(
    name: str,
    columns: Sequence[str],
    key: Sequence[str],
    rank: Sequence[str],
    counts: Sequence[str],
) -> str:
    """Replace kept rows by larger newcomers; give those newcomers that had other counts."""
    ranks = f"({', '.join(rank)})"
    same_key = " AND ".join(f"kept.{column} = best.{column}" for column in key)
    assignments = ", ".join(f"{column} = best.{column}" for column in columns)
    return (
        f"WITH larger AS (SELECT best.*, {_differs('best', 'kept', counts)} AS counts_differ "
        f"FROM best JOIN {name} kept ON {same_key} "
        f"WHERE {ranks.format('best')} > {ranks.format('kept')}), "
        f"updated AS (UPDATE {name} kept SET {assignments} FROM larger best WHERE {same_key} "
        "RETURNING position, counts_differ) SELECT position FROM updated WHERE counts_differ"
    )


def _find_differing(name: str, keys: str, counts: Sequence[str]) -> str:
    return (
        f"SELECT position FROM incoming JOIN {name} kept USING ({keys}) "
        f"WHERE {_differs('incoming', 'kept', counts)}"
    )


def _differs(left: str, right: str, counts: Sequence[str]) -> str:
    return f"({_row(left, counts)}) IS DISTINCT FROM ({_row(right, counts)})"


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _row(name: str, columns: Sequence[str]) -> str:
    return ", ".join(f"{name}.{column}" for column in columns)
