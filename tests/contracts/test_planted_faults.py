"""Each classical fault, planted in one path, turns a check red, which names feature and fault."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.request_fields import draft_arrays
from feature_repo.transformations import performance, profile, text, timing
from feature_repo.transformations.declared import names
from feature_repo.transformations.region import region_numbers
from ingestion import feature_rows, feature_tables
from tests.contracts.checks import disagreements, known_at, leaks
from tests.worlds import DAY, NOON, small_world

WORLD = small_world("f")
CUT = NOON - 5 * DAY
LATER = NOON + 20 * DAY


def batch(*tables):
    """Build feature tables as `foreview features build` does."""
    return feature_rows.feature_rows(*tables)


def pushed():
    """Compute rows as they are after collection: for one video at a time, by the push's names."""
    rows = {"video_profile": [], "video_performance": []}
    metadata, snapshots, channels = WORLD
    for video_id in sorted(set(metadata["video_id"].to_pylist())):
        own = snapshots.filter(pa.compute.equal(snapshots["video_id"], video_id))
        rows["video_profile"].append(feature_tables.profile_rows(metadata, channels, [video_id]))
        rows["video_performance"].append(feature_tables.performance_rows(own))
    return {name: pa.concat_tables(parts) for name, parts in rows.items()}


def drafted():
    """Describe the first version of each video as the draft it was."""
    import pandas as pd

    rows = WORLD.metadata.to_pandas().drop_duplicates("video_id", keep="first")
    fields = pd.DataFrame(
        {
            "title": rows["title"],
            "description": rows["description"],
            "tags": ["" if tags is None else "\n".join(tags) for tags in rows["tags"]],
            "draft_category_id": rows["category_id"].fillna(0.0),
            "draft_duration_seconds": rows["duration_seconds"].fillna(0.0),
        }
    )
    published = np.array([moment.timestamp() for moment in rows["published_at"]])
    nowhere = region_numbers([None] * len(rows))
    described = profile.draft_features(*draft_arrays(fields), published, nowhere)
    return {
        name: dict(zip(rows["video_id"], described[name].tolist(), strict=True))
        for name in names(profile.DRAFT_FEATURES)
    }


def first_profiles():
    """Give what the batch makes of the same versions, of channels without a country."""
    rows = WORLD.metadata.to_pandas().drop_duplicates("video_id", keep="first").index
    first = WORLD.metadata.take(pa.array(rows))
    tables = batch(first, WORLD.snapshots.slice(0, 0), WORLD.channels.slice(0, 0))
    return known_at({"video_profile": tables["video_profile"]}, LATER)


def faults(findings):
    """Give the features that each fault was found in."""
    found = {}
    for finding in findings:
        found.setdefault(finding.fault, set()).add(finding.feature)
    return found


def test_nothing_is_found_where_nothing_was_planted():
    assert leaks(batch, WORLD, CUT) == []
    assert disagreements(known_at(batch(*WORLD), LATER), known_at(pushed(), LATER)) == []
    assert disagreements(first_profiles(), drafted()) == []


def test_a_late_row_let_into_the_past_is_named(monkeypatch):
    build = feature_rows.performance_rows

    def as_if_known_at_once(snapshots):
        at = snapshots.schema.get_field_index("ingested_at")
        return build(snapshots.set_column(at, "ingested_at", snapshots["observed_at"]))

    monkeypatch.setattr(feature_rows, "performance_rows", as_if_known_at_once)
    found = faults(leaks(batch, WORLD, CUT))
    assert set(found) == {"late row"}
    assert {"view_count", "log10_views", "observation_count"} <= found["late row"]


def test_a_label_copied_into_a_feature_is_named(monkeypatch):
    build = feature_rows.performance_rows

    def with_the_last_count(snapshots):
        rows = build(snapshots)
        last = {row["video_id"]: row["view_count"] for row in rows.sort_by("event_timestamp")
                .to_pylist()}  # fmt: skip
        copied = pa.array([last[video] for video in rows["video_id"].to_pylist()], pa.float64())
        at = rows.schema.get_field_index("views_per_hour_3d")
        return rows.set_column(at, rows.schema.field(at), copied)

    monkeypatch.setattr(feature_rows, "performance_rows", with_the_last_count)
    found = faults(leaks(batch, WORLD, CUT))
    assert found["label copy"] == {"views_per_hour_3d"}


def test_a_title_edited_in_the_future_is_named(monkeypatch):
    build = feature_rows.profile_rows

    def by_the_newest_title(metadata, channels):
        newest = {row["video_id"]: row["title"] for row in metadata.sort_by("observed_at")
                  .to_pylist()}  # fmt: skip
        titles = pa.array([newest[video] for video in metadata["video_id"].to_pylist()])
        at = metadata.schema.get_field_index("title")
        return build(metadata.set_column(at, metadata.schema.field(at), titles), channels)

    monkeypatch.setattr(feature_rows, "profile_rows", by_the_newest_title)
    found = faults(leaks(batch, WORLD, CUT))
    assert set(found) == {"future title edit"}
    assert {"title_length", "title_emoji", "is_title_question"} <= found["future title edit"]
    # A title's language may be all that tells of a region, whose clock and holidays follow.
    local = {name for name in found["future title edit"] if "title" not in name}
    assert local <= set(names(timing.TIMING_FEATURES))


def test_a_shifted_window_is_named(monkeypatch):
    expected = known_at(batch(*WORLD), LATER)
    monkeypatch.setattr(performance, "WINDOW_SLACK", (1.0, 1.75))
    findings = disagreements(expected, known_at(pushed(), LATER))
    shifted = faults(findings)["shifted window"]
    assert {"views_per_hour_1d", "log10_views_growth_1d", "log10_views_growth_3d"} <= shifted
    assert "views_per_hour_1d: shifted window (differs for" in "\n".join(map(str, findings))


@pytest.mark.parametrize("factor", [1 / 60, 1000.0])
def test_a_unit_error_is_named_with_its_factor(factor, monkeypatch):
    build = feature_tables.profile_rows

    def in_another_unit(*of):
        rows = build(*of)
        at = rows.schema.get_field_index("duration_seconds")
        return rows.set_column(
            at, rows.schema.field(at), pa.compute.multiply(rows["duration_seconds"], factor)
        )

    monkeypatch.setattr(feature_tables, "profile_rows", in_another_unit)
    (finding,) = disagreements(known_at(batch(*WORLD), LATER), known_at(pushed(), LATER))
    assert finding[:2] == ("unit error", "duration_seconds")
    assert f"{factor:g} times too large" in finding.detail


def test_a_second_implementation_that_differs_by_one_emoji_rule_is_named(monkeypatch):
    expected = first_profiles()

    def each_code_point(texts):
        """Count a family that is joined to one emoji as its members."""
        return np.array(
            [np.nan if t is None else sum(c in text.emoji.EMOJI_DATA for c in t) for t in texts]
        )

    monkeypatch.setattr(text, "emoji_counts", each_code_point)
    found = faults(disagreements(expected, drafted()))
    assert found == {"second implementation": {"title_emoji"}}


def test_what_only_one_moment_leaks_is_found_at_that_moment():
    early = CUT - timedelta(days=3)
    assert leaks(batch, WORLD, early) == []
