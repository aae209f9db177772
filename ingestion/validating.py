"""The suites, run over what the warehouse holds."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Engine, text

from ingestion import expectations, warehouse
from ingestion.checks import failing_rows, violations
from ingestion.data_docs import Examined, build_docs
from ingestion.facts import CHECKS, Facts, read_facts
from ingestion.feature_suites import FEATURE_SUITES, read_features
from ingestion.loading import Progress
from ingestion.suites import SUITES

_WINDOW = timedelta(days=31)

Reader = Callable[..., pa.Table]
Check = Callable[[pa.Table, datetime], expectations.Violations]

_TABLES: dict[str, tuple[Reader, Check]] = {
    "video_snapshots": (warehouse.read_snapshots, expectations.video_snapshot_violations),
    "video_metadata": (warehouse.read_metadata, expectations.video_metadata_violations),
    "channel_snapshots": (warehouse.read_channels, expectations.channel_snapshot_violations),
}


@dataclass
class TableReport:
    """What the suite of one table found."""

    table: str
    rows: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: dict[str, float] = field(default_factory=dict)


def validate(
    engine: Engine, now: datetime, progress: Progress = lambda what, done, total: None
) -> list[TableReport]:
    """Run every suite over its table, a month of observations at a time."""
    reports = [_validate(engine, name, now, progress) for name in _TABLES]
    reports += [_validate_features(engine, name, progress) for name in FEATURE_SUITES]
    return [*reports, _validate_facts(read_facts(engine, now))]


def write_docs(engine: Engine, now: datetime, directory: Path) -> Path:
    """Run the suites by Great Expectations over the newest rows, and write its data docs.

    Returns:
        The first page.
    """
    tables = {}
    since = now - _WINDOW
    for name, (reader, _) in _TABLES.items():
        newest = reader(engine, start=since).slice(0, expectations.CHUNK_ROWS)
        suite = SUITES[name]
        tables[name] = Examined(suite.prepare(newest, now), suite.checks)
    for name, checks in FEATURE_SUITES.items():
        rows = read_features(engine, name, checks, limit=expectations.CHUNK_ROWS)
        tables[name] = Examined(rows, checks)
    tables["warehouse"] = Examined(read_facts(engine, now).table(), CHECKS)
    return build_docs(tables, directory)


def _validate_features(engine: Engine, name: str, progress: Progress) -> TableReport:
    checks, report = FEATURE_SUITES[name], TableReport(name)
    rows = read_features(engine, name, checks)
    failed = violations(rows, checks)
    report.rows, report.failed = rows.num_rows, len(failed)
    report.reasons.update(reason for reasons in failed.values() for reason in reasons)
    progress(name, 1, 1)
    return report


def _validate_facts(facts: Facts) -> TableReport:
    """Judge the figures of whole tables: a row of one, as it were."""
    report, table = TableReport("warehouse", rows=1), facts.table()
    for check in CHECKS:
        if failing_rows(table[check.column], check):
            value = facts.values[check.column]
            assert value is not None
            if check.severity == "critical":
                report.failed = 1
                report.reasons[check.reason] = round(value)
            else:
                report.warnings[check.reason] = value
    return report


def _validate(engine: Engine, name: str, now: datetime, progress: Progress) -> TableReport:
    reader, check = _TABLES[name]
    report = TableReport(name)
    windows = _windows(engine, name)
    for number, (start, end) in enumerate(windows, start=1):
        for chunk in _chunks(reader(engine, start=start, end=end)):
            violations = check(chunk, now)
            report.rows += chunk.num_rows
            report.failed += len(violations)
            report.reasons.update(reason for reasons in violations.values() for reason in reasons)
        progress(name, number, len(windows))
    return report


def _windows(engine: Engine, name: str) -> list[tuple[datetime, datetime]]:
    with engine.connect() as connection:
        query = text(f"SELECT min(observed_at), max(observed_at) FROM {name}")
        first, last = connection.execute(query).one()
    if first is None:
        return []
    months = (last - first) // _WINDOW + 1
    return [(first + _WINDOW * n, first + _WINDOW * (n + 1)) for n in range(months)]


def _chunks(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, expectations.CHUNK_ROWS):
        yield table.slice(start, expectations.CHUNK_ROWS)
