"""What a collection did, in numbers."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ingestion.ingesting import IngestCounts


@dataclass
class CollectReport:
    """What a collection did.

    Attributes:
        calls: Requests that were answered, one unit each.
        videos: Looks at videos that were there.
        channels: Looks at channels that were there.
        discovered: Videos that were new.
        views_fell: Looks that found fewer views than the look before: kept, YouTube corrects.
        gone: Videos and channels that were given up.
        ingested: What became of the landed rows.
    """

    calls: int = 0
    videos: int = 0
    channels: int = 0
    discovered: int = 0
    views_fell: int = 0
    gone: int = 0
    ingested: IngestCounts = field(default_factory=IngestCounts)

    def __iadd__(self, other: "CollectReport") -> "CollectReport":
        self.calls += other.calls
        self.videos += other.videos
        self.channels += other.channels
        self.discovered += other.discovered
        self.views_fell += other.views_fell
        self.gone += other.gone
        self.ingested += other.ingested
        return self

    def as_json(self) -> dict[str, Any]:
        """Give the report as `foreview collect --json` prints it."""
        return asdict(self)
