"""Recorded data through the same landing, validation and warehouse as live collection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine

from feature_repo.clock import Clock
from ingestion import expectations, recorded_tables, warehouse
from ingestion.errors import NothingToLoad, UnreadableFile
from ingestion.ingesting import ingest_each, ingest_responses
from ingestion.landed import LandedResponse
from ingestion.landing import Landing
from ingestion.quarantine import Rejected
from ingestion.recordings import SNAPSHOTS, Kind, find_files, read_body, read_bytes
from ingestion.reports import FileReport, LoadReport
from ingestion.trending_csv import TrendingExport

__all__ = ["FileReport", "LandedResponse", "LoadReport", "ingest_responses", "load"]

# Bodies handed over together: Great Expectations costs the same for one as for a hundred.
_BODIES_AT_ONCE = 100

# Called with what is being loaded, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]
# Called with rows that are refused.
Refused = Callable[[Sequence[Rejected]], None]


@dataclass(frozen=True)
class _Loader:
    engine: Engine
    landing: Landing
    world: str
    loaded_at: datetime
    progress: Progress
    named: frozenset[Path]
    landed_as: str | None
    refused: Refused

    def bodies(self, files: Sequence[tuple[Path, FileReport]]) -> None:
        """Load API bodies, a batch at a time."""
        for start in range(0, len(files), _BODIES_AT_ONCE):
            landed = []
            for path, report in files[start : start + _BODIES_AT_ONCE]:
                try:
                    landed.append((report, self._land_body(path)))
                except UnreadableFile as error:
                    report.skip(error)
            counts = ingest_each(self.engine, [r for _, r in landed], loaded_at=self.loaded_at)
            for (report, response), outcome in zip(landed, counts, strict=True):
                report.counts += outcome
                report.saw(response.observed_at)
            self.progress("API bodies", min(start + _BODIES_AT_ONCE, len(files)), len(files))

    def parquet(self, path: Path, report: FileReport) -> None:
        """Load a file of snapshots or of metadata versions, a chunk at a time."""
        raw_ref = self._land_parquet(path)
        table = recorded_tables.RecordedTable(path)
        broadcasts = recorded_tables.unusual_broadcasts(path.with_name(SNAPSHOTS))
        for chunk in table.chunks():
            if table.holds_snapshots:
                rows = recorded_tables.snapshot_rows(chunk, self.world, raw_ref, self.loaded_at)
                self._snapshots(rows, path, report)
            else:
                self._versions(chunk, broadcasts, raw_ref, path, report)
            self.progress(path.name, report.counts.read, table.rows)

    def trending(self, path: Path, report: FileReport) -> None:
        """Load a trending export."""
        content = read_bytes(path)
        raw_ref = self._land_file(path, content)
        export = TrendingExport(content, path.name)
        for chunk in export.chunks(self.world, raw_ref, self.loaded_at):
            self._reject(chunk.rejected, path, report)
            failed = expectations.together(
                expectations.video_snapshot_violations(chunk.snapshots, self.loaded_at),
                expectations.video_metadata_violations(chunk.metadata, self.loaded_at),
            )
            snapshots, rejected = expectations.split(chunk.snapshots, failed)
            self._reject(rejected, path, report)
            if chunk.metadata.num_rows:
                metadata, _ = expectations.split(chunk.metadata, failed)
                warehouse.append_metadata(self.engine, metadata)
            self._append(snapshots, report)
            self.progress(path.name, report.counts.read, export.lines)

    def _snapshots(self, rows: pa.Table, path: Path, report: FileReport) -> None:
        sound, rejected = expectations.check_video_snapshots(rows, self.loaded_at)
        self._reject(rejected, path, report)
        self._append(sound, report)

    def _append(self, snapshots: pa.Table, report: FileReport) -> None:
        if snapshots.num_rows:
            report.counts.append(warehouse.append_each_snapshot(self.engine, snapshots))
            report.saw(pc.max(snapshots["observed_at"]).as_py())

    def _versions(
        self,
        chunk: pa.Table,
        broadcasts: pa.Table | None,
        raw_ref: str,
        path: Path,
        report: FileReport,
    ) -> None:
        """Append both ends of each version: another may have come between them."""
        first, last = (
            recorded_tables.version_rows(
                chunk, seen, broadcasts, self.world, raw_ref, self.loaded_at
            )
            for seen in ("first_observed_at", "last_observed_at")
        )
        failed = expectations.video_metadata_violations(first, self.loaded_at)
        sound, rejected = expectations.split(first, failed)
        self._reject(rejected, path, report)
        report.counts.add(warehouse.append_metadata(self.engine, sound))
        again, _ = expectations.split(last, failed)
        later = pc.greater(again["observed_at"], sound["observed_at"])
        warehouse.append_metadata(self.engine, again.filter(later))
        report.saw(pc.max(last["observed_at"]).as_py())

    def _reject(self, rejected: Sequence[Rejected], path: Path, report: FileReport) -> None:
        report.counts.reject(rejected)
        self.refused(rejected)
        warehouse.quarantine(
            self.engine,
            rejected,
            world=self.world,
            source=path.name,
            quarantined_at=self.loaded_at,
        )

    def _land_body(self, path: Path) -> LandedResponse:
        recorded = read_body(path)
        observed_at, world = recorded.observed_at, recorded.world or self.world
        raw_ref = recorded.raw_ref or self.landing.put(
            recorded.content, request={"file": path.name}, fetched_at=observed_at, world=world
        )
        return LandedResponse(raw_ref, recorded.content, observed_at, observed_at, world)

    def _land_parquet(self, path: Path) -> str:
        """Land a file; one of versions says which snapshots told the states of its videos."""
        content, beside = path.read_bytes(), path.with_name(SNAPSHOTS)
        if self.landed_as is not None or path == beside:
            return self._land_file(path, content)
        snapshots = None
        if beside.is_file():
            # A replay brings in only what was named.
            told = {} if beside.resolve() in self.named else {"read_for": path.name}
            snapshots = self._land_file(beside, beside.read_bytes(), **told)
        return self._land_file(path, content, snapshots=snapshots)

    def _land_file(self, path: Path, content: bytes, **told: str | None) -> str:
        return self.landed_as or self.landing.put(
            content, request={"file": path.name, **told}, fetched_at=None, world=self.world
        )


def load(
    paths: Sequence[Path],
    engine: Engine,
    landing: Landing,
    world: str,
    clock: Clock,
    progress: Progress = lambda what, done, total: None,
    landed_as: str | None = None,
    refused: Refused = lambda rejected: None,
) -> LoadReport:
    """Load recorded data; what cannot be read or fails validation is named, the rest is loaded.

    Args:
        paths: Files and directories, see `recordings.find_files`.
        engine: The warehouse, migrated.
        landing: Where every file is stored as it is before it is read.
        world: `real` or `synthetic`.
        clock: Gives `loaded_at`; observations after it are refused.
        progress: Told what is done.
        landed_as: What a file that is in the landing already is named there; it stays as it is.
        refused: Told what of files is refused, besides that it is kept in quarantine.

    Returns:
        A report per file. Loading the same again reports duplicates and changes nothing.

    Raises:
        NothingToLoad: There is no file of a kind that can be loaded.
    """
    found = find_files(paths)
    if not found:
        raise NothingToLoad(
            f"nothing to load below {', '.join(map(str, paths))}: neither snapshots.parquet with "
            "video_versions.parquet, nor API bodies (JSON), nor CSV exports"
        )
    named = frozenset(path.resolve() for path, _ in found)
    loader = _Loader(engine, landing, world, clock(), progress, named, landed_as, refused)
    report, bodies = LoadReport(), []
    for path, kind in found:
        file = FileReport(str(path))
        report.files.append(file)
        try:
            if kind is Kind.BODY:
                bodies.append((path, file))
            elif kind is Kind.PARQUET:
                loader.parquet(path, file)
            elif kind is Kind.CSV:
                loader.trending(path, file)
            else:
                raise UnreadableFile("unknown_kind", "is neither JSON, CSV nor Parquet by its name")
        except UnreadableFile as error:
            file.skip(error)
    loader.bodies(bodies)
    if report.total.loaded:
        report.views_fell = warehouse.views_that_fell(engine, loader.loaded_at)
    return report
