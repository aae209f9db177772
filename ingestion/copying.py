"""Arrow tables into and out of PostgreSQL with COPY, through psycopg2."""

import io
import tempfile
from collections.abc import Sequence
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from sqlalchemy import Connection

from ingestion.copy_encoding import HEADER, TRAILER, can_encode, encoded

CSV_OPTIONS, BINARY_OPTIONS = "WITH (FORMAT csv)", "WITH (FORMAT binary)"
# What is in memory at a time, and handed to the connection at a time.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 50_000, 1 << 20


def copy_in(connection: Connection, name: str, table: pa.Table) -> None:
    """Append the rows of a table to the database table `name`, column by column name.

    In PostgreSQL's binary form, which costs both sides least; columns that have none here (lists,
    and whatever is narrower or wider in the database) go as text.
    """
    columns = ", ".join(f'"{column}"' for column in table.column_names)
    with _cursor(connection) as cursor:
        cursor.execute(f"SELECT {columns} FROM {name} LIMIT 0")
        types = [column.type_code for column in cursor.description]
        is_binary = can_encode(table.schema, types)
        options = BINARY_OPTIONS if is_binary else CSV_OPTIONS
        for first in range(0, table.num_rows, _ROWS_AT_ONCE):
            rows = table.slice(first, _ROWS_AT_ONCE)
            content = _as_binary(rows, types) if is_binary else _as_csv(rows)
            statement = f"COPY {name} ({columns}) FROM STDIN {options}"
            cursor.copy_expert(statement, content, size=_BYTES_AT_ONCE)


def _as_binary(table: pa.Table, types: Sequence[int]) -> BinaryIO:
    return io.BytesIO(b"".join((HEADER, encoded(table, types), TRAILER)))


def _as_csv(table: pa.Table) -> BinaryIO:
    plain = [_array_literals(c) if pa.types.is_list(c.type) else c for c in table.columns]
    content = pa.BufferOutputStream()
    rows = pa.table(plain, names=table.column_names)
    pa_csv.write_csv(rows, content, pa_csv.WriteOptions(include_header=False))
    return io.BytesIO(content.getvalue())


def copy_out(
    connection: Connection, query: str, parameters: Sequence[Any], schema: pa.Schema
) -> pa.Table:
    """Read the answer of a query whose columns are those of `schema`, in order.

    Lists must be selected as JSON (`to_json(column)`). Memory is that of the table: the text
    goes through a temporary file.
    """
    types = {f.name: pa.string() if pa.types.is_list(f.type) else f.type for f in schema}
    with tempfile.TemporaryFile() as file:
        with _cursor(connection) as cursor:
            text = cursor.mogrify(query, tuple(parameters)).decode()
            cursor.copy_expert(f"COPY ({text}) TO STDOUT {CSV_OPTIONS}", file)
        if file.tell() == 0:
            return schema.empty_table()
        file.seek(0)
        table = pa_csv.read_csv(
            file,
            read_options=pa_csv.ReadOptions(column_names=schema.names, block_size=16 << 20),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                true_values=["t"],
                false_values=["f"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    return pa.table(
        [
            _parsed_lists(table[f.name], f.type) if pa.types.is_list(f.type) else table[f.name]
            for f in schema
        ],
        schema=schema,
    )


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()


def _array_literals(column: pa.ChunkedArray) -> pa.Array:
    """Write lists of strings as PostgreSQL array literals, `{"a","b"}`."""
    lists = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())]
    )
    escaped = pc.replace_substring(lists.flatten(), "\\", "\\\\")
    escaped = pc.replace_substring(escaped, '"', '\\"')
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, escaped), '","')
    literals = pc.if_else(
        pc.equal(lengths, 0), "{}", pc.binary_join_element_wise('{"', joined, '"}', "")
    )
    return pc.if_else(lists.is_null(), pa.scalar(None, pa.string()), literals)


def _parsed_lists(column: pa.ChunkedArray, type_: pa.ListType) -> pa.Array:
    return pa.array(
        [None if text is None else orjson.loads(text) for text in column.to_pylist()], type_
    )
