"""What files of recorded lists say beside their observations: regions, and who left the lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

LISTS = "snapshots.parquet"


def listed_in(raw: Path, countries: Sequence[str]) -> set[str]:
    """Name the videos that were ever on the list of one of these countries.

    Raises:
        click.UsageError: The record names no such country.
    """
    import click

    file = raw / LISTS
    known = pd.read_parquet(file, columns=["country", "video_id"]) if file.is_file() else None
    there = set() if known is None else set(known["country"])
    if missing := sorted(set(countries) - there):
        known_ones = ", ".join(sorted(there)) or "none"
        raise click.UsageError(f"no list of {', '.join(missing)} in {raw}: it has {known_ones}")
    assert known is not None
    return set(known.loc[known["country"].isin(countries), "video_id"])


def censored(raw: Path) -> list[dict[str, Any]]:
    """Compare videos that left the lists with those that stayed, where a panel followed both."""
    from training.censoring import censoring

    panels, lists = sorted(raw.glob("panel_*.parquet")), raw / "snapshots.parquet"
    if not panels or not lists.is_file():
        return []

    def days(dates: pd.Series) -> pd.Series:
        return (pd.to_datetime(dates, format="%Y%m%d") - pd.Timestamp(0)).dt.days

    keys = pd.read_parquet(lists, columns=["video_id", "file_date"])
    listed = pd.MultiIndex.from_arrays([keys["video_id"], days(keys["file_date"].astype(str))])
    wanted = ["video_id", "file_date", "view_count", "published_at"]
    panel = pd.concat([pd.read_parquet(file, columns=wanted) for file in panels])
    panel = panel.assign(
        day=days(panel["file_date"]),
        views=panel["view_count"].astype(float),
        published_at=pd.to_datetime(panel["published_at"], utc=True),
    ).drop_duplicates(["video_id", "day"])
    return censoring(panel, listed.unique())


def list_facts(*paths: Path | None) -> pd.DataFrame | None:
    """Give how high and on how many lists a video stood, where recorded lists say so.

    Returns:
        best_position, lists; by (video_id, day), a day being midnight UTC.
    """
    parts = [
        pd.read_parquet(file, columns=["country", "video_id", "observed_at", "position"])
        for path in paths
        if path is not None and (file := path / LISTS).is_file()
    ]
    if not parts:
        return None
    lists = pd.concat(parts)
    day = pd.to_datetime(lists["observed_at"], utc=True).dt.floor("D").rename("day")
    by_day = lists.groupby([lists["video_id"], day])
    return by_day.agg(best_position=("position", "min"), lists=("country", "nunique"))


def regions(*paths: Path | None) -> pd.Series:
    """Give the country whose list each video was first seen on, where recorded lists name it."""
    parts = [
        pd.read_parquet(file, columns=["country", "video_id", "observed_at"])
        for path in paths
        if path is not None and (file := path / "snapshots.parquet").is_file()
    ]
    if not parts:
        return pd.Series(dtype=str)
    lists = pd.concat(parts).sort_values("observed_at", kind="stable")
    return lists.drop_duplicates("video_id").set_index("video_id")["country"].astype(str)
