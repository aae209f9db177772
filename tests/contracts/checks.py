"""Checks that tell what is wrong with features: which one, and which fault it looks like."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tests.exactness import bits
from tests.worlds import DAY, HOUR, World, snapshot, version, world

Build = Callable[[pa.Table, pa.Table, pa.Table], Mapping[str, pa.Table]]
# The value of each feature by entity.
Values = dict[str, dict[str, float]]

_WINDOW = re.compile(r"_\d+[dh](_|$)")


class Finding(NamedTuple):
    """A feature that is not what it must be."""

    fault: str
    feature: str
    detail: str

    def __str__(self) -> str:
        return f"{self.feature}: {self.fault} ({self.detail})"


def known_at(tables: Mapping[str, pa.Table], as_of: datetime) -> Values:
    """Read feature tables as history does: each entity's latest row, of those known by a moment."""
    values: Values = {}
    for rows in tables.values():
        times = [rows["event_timestamp"], rows["created_timestamp"]]
        known = rows.filter(pc.and_(*(pc.less_equal(t, pa.scalar(as_of, t.type)) for t in times)))
        order = [(name, "ascending") for name in rows.column_names[:3]]
        latest = {row[rows.column_names[0]]: row for row in known.sort_by(order).to_pylist()}
        for field in rows.schema:
            if pa.types.is_float64(field.type):
                values[field.name] = {
                    entity: np.nan if row[field.name] is None else row[field.name]
                    for entity, row in latest.items()
                }
    return values


def leaks(build: Build, observed: World, as_of: datetime) -> list[Finding]:
    """Plant in turn what was not known by a moment, and name every feature that it changes.

    Three faults are told apart by what gives them away: a row of before the moment that arrived
    after it, counts of after it (which a label is made of), and a title that was edited after it.
    """
    before = known_at(build(*observed), as_of)
    findings = []
    for fault, plant in _plants(observed, as_of).items():
        after = known_at(build(*plant), as_of)
        for name in before:
            changed = _differing(before[name], after[name])
            if changed:
                detail = f"changed for {len(changed)} of {len(before[name])}, first {changed[0]}"
                findings.append(Finding(fault, name, detail))
    return findings


def _plants(observed: World, as_of: datetime) -> dict[str, World]:
    looked_at = observed.known_at(as_of - DAY).snapshots.to_pylist()[0]
    written = observed.known_at(as_of - DAY).metadata.to_pylist()
    later = as_of + HOUR
    late = snapshot(looked_at["video_id"], as_of - 2 * HOUR, 10**9, ingested_at=later)
    edits = [
        version(row["video_id"], later, row["channel_id"])
        | {name: row[name] for name in ("published_at", "description", "tags", "category_id")}
        | {"title": "WHAT? 🎉 edited LATER!", "duration_seconds": row["duration_seconds"]}
        for row in {row["video_id"]: row for row in written}.values()
    ]
    counts = observed.snapshots.to_pylist()
    grown = [
        row | {"view_count": row["view_count"] * 7 + 11}
        if row["observed_at"] > as_of and row["view_count"] is not None
        else row
        for row in counts
    ]
    return {
        "late row": observed.with_rows(world(snapshots=[late])),
        "label copy": world(observed.metadata.to_pylist(), grown, observed.channels.to_pylist()),
        "future title edit": observed.with_rows(world(edits)),
    }


def disagreements(expected: Values, actual: Values) -> list[Finding]:
    """Name every feature that two paths do not give alike, to the bit, and what it looks like.

    One ratio between all values tells of a unit; a difference in a feature of a window, of the
    window; any other, of an implementation that is not the same.
    """
    findings = []
    for name in sorted(set(expected) & set(actual)):
        shared = {entity for entity in expected[name] if entity in actual[name]}
        differing = [e for e in _differing(expected[name], actual[name]) if e in shared]
        if not differing:
            continue
        pairs = [(expected[name][entity], actual[name][entity]) for entity in sorted(shared)]
        detail = f"differs for {len(differing)} of {len(shared)}, first {differing[0]}"
        factor = _factor(pairs)
        if factor is not None:
            findings.append(Finding("unit error", name, f"{detail}: {factor:g} times too large"))
        elif _WINDOW.search(name):
            findings.append(Finding("shifted window", name, detail))
        else:
            findings.append(Finding("second implementation", name, detail))
    return findings


def _factor(pairs: list[tuple[float, float]]) -> float | None:
    """Give the one ratio of all values that are not zero; None where there is none, or it is 1."""
    known = np.array([pair for pair in pairs if not np.isnan(pair).any() and pair[0] != 0])
    if len(known) < 3:
        return None
    ratios = known[:, 1] / known[:, 0]
    same = np.allclose(ratios, ratios[0], rtol=1e-9) and not np.isclose(ratios[0], 1.0)
    return float(ratios[0]) if same else None


def _differing(left: dict[str, float], right: dict[str, float]) -> list[str]:
    missing = set(left) ^ set(right)
    unequal = {e for e in set(left) & set(right) if bits(left[e]) != bits(right[e])}
    return sorted(missing | unequal)
