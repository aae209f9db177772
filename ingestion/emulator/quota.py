"""Units used per key, bucket and Pacific day, as YouTube counts them."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

from ingestion.emulator.errors import quota_exceeded

_PACIFIC = ZoneInfo("America/Los_Angeles")
# Every method costs one unit a call; searches and batches of statistics are counted apart.
BUCKETS = {"list": 10_000, "batchGetStats": 10_000, "search": 100}


class Quota:
    """Charges one unit per call, valid or not, until the day's limit of its bucket."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = {**BUCKETS, **limits}
        self.used: Counter[tuple[str, str, date]] = Counter()

    def charge(self, key: str, bucket: str, now: datetime) -> None:
        """Count a call; raises the error that YouTube answers when nothing is left."""
        day = (key, bucket, now.astimezone(_PACIFIC).date())
        if self.used[day] >= self.limits[bucket]:
            raise quota_exceeded()
        self.used[day] += 1

    def spent(self, bucket: str) -> int:
        """Count the calls to a bucket, over all keys and days."""
        return sum(count for (_, name, _), count in self.used.items() if name == bucket)
