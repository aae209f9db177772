"""What must hold of the feature tables: keys, times, and the ranges that names promise; as data."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from sqlalchemy import Engine

from feature_repo.schemas import FEATURE_TABLES
from ingestion.copying import copy_out
from ingestion.suites import Check

_FLAGS = ("is_", "are_", "has_")
_NEVER_NEGATIVE = ("_count", "_seconds", "_length", "_words", "_seen")


def _checks(schema: pa.Schema) -> Sequence[Check]:
    key = schema.names[0]
    checks = [
        Check(name, "not_null", f"{name}_null")
        for name in (key, "event_timestamp", "created_timestamp")
    ]
    for field in schema:
        if not pa.types.is_float64(field.type):
            continue
        if field.name.startswith(_FLAGS) or field.name.endswith("_probability"):
            checks.append(Check(field.name, "at_least", f"{field.name}_out_of_range", 0))
            checks.append(Check(field.name, "at_most", f"{field.name}_out_of_range", 1))
        elif field.name.endswith(_NEVER_NEGATIVE) or field.name.startswith("hours_since"):
            checks.append(Check(field.name, "at_least", f"{field.name}_negative", 0))
    return checks


FEATURE_SUITES: Mapping[str, Sequence[Check]] = {
    name: _checks(schema) for name, schema in FEATURE_TABLES.items()
}


def read_features(
    engine: Engine, name: str, checks: Sequence[Check], limit: int | None = None
) -> pa.Table:
    """Read the columns that the checks of a feature table look at, the newest rows first."""
    schema = FEATURE_TABLES[name]
    wanted = pa.schema([schema.field(n) for n in dict.fromkeys(c.column for c in checks)])
    columns = ", ".join(f'"{column}"' for column in wanted.names)
    query = f"SELECT {columns} FROM {name} ORDER BY event_timestamp DESC"
    bound = [] if limit is None else [limit]
    with engine.connect() as connection:
        return copy_out(connection, query + (" LIMIT %s" if bound else ""), bound, wanted)
