"""What is copied into PostgreSQL comes back as it was, whatever it is."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.copying import copy_in, copy_out

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")
COLUMNS = {
    "b": (pa.bool_(), "boolean", st.booleans()),
    "i": (pa.int64(), "bigint", st.integers(-(2**63), 2**63 - 1)),
    "n": (pa.int32(), "integer", st.integers(-(2**31), 2**31 - 1)),
    "t": (pa.string(), "text", st.text(st.characters(codec="utf-8", exclude_characters="\x00"))),
    "f": (pa.float64(), "double precision", st.floats(allow_nan=False)),
    "at": (
        INSTANT,
        "timestamptz",
        st.integers(-(2**51), 2**52).map(lambda us: EPOCH + timedelta(microseconds=us)),
    ),
}
SCHEMA = pa.schema([(name, type_) for name, (type_, _, _) in COLUMNS.items()])
LISTS = SCHEMA.append(pa.field("l", pa.list_(pa.string())))
ROW = st.fixed_dictionaries({n: st.none() | values for n, (_, _, values) in COLUMNS.items()})
TAGS = st.none() | st.lists(COLUMNS["t"][2], max_size=3)


def _round_trip(warehouse, rows, schema):
    columns = [f"{name} {sql}" for name, (_, sql, _) in COLUMNS.items()]
    columns += ["l text[]"] if schema is LISTS else []
    table = pa.Table.from_pylist(rows, schema=schema)
    with warehouse.connect() as connection:
        connection.exec_driver_sql(f"CREATE TEMP TABLE copied (place serial, {', '.join(columns)})")
        copy_in(connection, "copied", table)
        chosen = ", ".join("to_json(l)" if name == "l" else name for name in schema.names)
        back = copy_out(connection, f"SELECT {chosen} FROM copied ORDER BY place", [], schema)
        connection.rollback()
    assert back.to_pylist() == table.to_pylist()


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(ROW, max_size=5), tags=st.none() | st.lists(TAGS, min_size=5, max_size=5))
def test_every_value_comes_back(warehouse, rows, tags):
    if tags is None:
        _round_trip(warehouse, rows, SCHEMA)
    else:
        rows = [row | {"l": tag} for row, tag in zip(rows, tags, strict=False)]
        _round_trip(warehouse, rows, LISTS)


def test_more_rows_than_are_sent_at_once_arrive_in_order(warehouse, monkeypatch):
    from ingestion import copying

    monkeypatch.setattr(copying, "_ROWS_AT_ONCE", 7)
    plain = dict.fromkeys(SCHEMA.names)
    _round_trip(warehouse, [plain | {"n": n} for n in range(50)], SCHEMA)


@pytest.mark.parametrize(("type_", "value"), [(pa.int64(), 7), (pa.string(), "7")])
def test_a_column_of_another_type_than_the_databases_is_converted(warehouse, type_, value):
    with warehouse.connect() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE narrow (n integer)")
        copy_in(connection, "narrow", pa.table({"n": pa.array([value, None], type_)}))
        rows = connection.exec_driver_sql("SELECT n FROM narrow").scalars().all()
        connection.rollback()
    assert rows == [7, None]
