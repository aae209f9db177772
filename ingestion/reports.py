"""What became of what was to be loaded: per row in numbers, per file with names."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ingestion.appending import AppendCounts, Outcomes, tally
from ingestion.errors import UnreadableFile
from ingestion.quarantine import Rejected

CONFLICTING_COUNTS = "conflicting_counts"


@dataclass
class IngestCounts:
    """What became of the items of a response or the rows of a file.

    `read` is always `loaded + duplicate + quarantined`, and `quarantined` the sum of `reasons`
    (the first of each row; all of them are in the quarantine). Counts that conflict with what is
    kept are among them, under `conflicting_counts`; unlike the others they are no failure.
    """

    read: int = 0
    loaded: int = 0
    duplicate: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: "IngestCounts") -> "IngestCounts":
        self.read += other.read
        self.loaded += other.loaded
        self.duplicate += other.duplicate
        self.quarantined += other.quarantined
        self.reasons += other.reasons
        return self

    def as_json(self) -> dict[str, Any]:
        """Give the counts as `--json` prints them."""
        return {**asdict(self), "reasons": dict(sorted(self.reasons.items()))}

    @property
    def failed(self) -> int:
        """Count the rows that failed validation."""
        return self.quarantined - self.reasons[CONFLICTING_COUNTS]

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Count rows that failed validation."""
        self.read += len(rejected)
        self.quarantined += len(rejected)
        self.reasons.update(r.reasons[0] for r in rejected)

    def append(self, outcomes: Outcomes) -> None:
        """Count rows that were handed to the warehouse."""
        self.add(tally(outcomes))

    def add(self, counts: AppendCounts) -> None:
        """Count what the warehouse counted."""
        self.read += counts.loaded + counts.duplicate + counts.conflicting
        self.loaded += counts.loaded
        self.duplicate += counts.duplicate
        self.quarantined += counts.conflicting
        if counts.conflicting:
            self.reasons[CONFLICTING_COUNTS] += counts.conflicting


@dataclass
class FileReport:
    """What became of one file; `error` says why it was skipped."""

    file: str
    counts: IngestCounts = field(default_factory=IngestCounts)
    error: str | None = None
    latest_observed_at: datetime | None = None

    def saw(self, moment: datetime | None) -> None:
        """Note an observation's time."""
        if moment is not None:
            self.latest_observed_at = max(moment, self.latest_observed_at or moment)

    def skip(self, error: UnreadableFile) -> None:
        """Note that the file could not be read (further)."""
        self.error = str(error)
        self.counts.reasons[error.reason] += 1

    def as_json(self) -> dict[str, Any]:
        """Give the entry of `foreview load --json`."""
        return {
            "file": self.file,
            "read": self.counts.read,
            "loaded": self.counts.loaded,
            "duplicate": self.counts.duplicate,
            "quarantined": self.counts.quarantined,
            "reasons": dict(sorted(self.counts.reasons.items())),
            "error": self.error,
        }


@dataclass
class LoadReport:
    """What became of everything that was to be loaded.

    Attributes:
        files: A report per file.
        views_fell: Loaded snapshots with fewer views than the look before: kept, YouTube corrects.
    """

    files: list[FileReport] = field(default_factory=list)
    views_fell: int = 0

    @property
    def total(self) -> IngestCounts:
        """Add up all files."""
        total = IngestCounts()
        for file in self.files:
            total += file.counts
        return total

    @property
    def skipped(self) -> list[FileReport]:
        """Give the files that could not be read."""
        return [file for file in self.files if file.error is not None]

    @property
    def rejected_rows(self) -> int:
        """Count the rows that failed validation."""
        return sum(file.counts.failed for file in self.files)

    @property
    def clock(self) -> datetime | None:
        """Give the first whole second at which everything loaded was known."""
        latest = [f.latest_observed_at for f in self.files if f.latest_observed_at is not None]
        if not latest:
            return None
        moment = max(latest)
        rounded = moment.replace(microsecond=0)
        return rounded if rounded == moment else rounded + timedelta(seconds=1)
