"""The quota ledger: units used per bucket and Pacific day, charged before each call."""

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from feature_repo.clock import Clock
from ingestion.errors import IngestionError
from ingestion.patience import is_outage, through_outages

_log = logging.getLogger(__name__)

PACIFIC = ZoneInfo("America/Los_Angeles")
LIST, STATISTICS, SEARCH = "list", "batchGetStats", "search"
# YouTube's default allowance, calls per Pacific day; every method costs one unit a call.
DAILY_LIMITS = {LIST: 10_000, STATISTICS: 10_000, SEARCH: 100}

# Units kept for labels are only there for who says that it asks for one.
_CHARGE = text("""
    INSERT INTO quota_ledger AS ledger (bucket, quota_day, used, "limit")
    SELECT :bucket, :day, :units, :limit WHERE :units <= :limit
    ON CONFLICT (bucket, quota_day) DO UPDATE
    SET used = ledger.used + excluded.used, "limit" = excluded."limit"
    WHERE ledger.refused_at IS NULL AND ledger.used + excluded.used
        <= excluded."limit" - CASE WHEN :urgent THEN 0 ELSE ledger.reserved END
    RETURNING used
""")
_GIVE_BACK = text(
    "UPDATE quota_ledger SET used = used - :units WHERE bucket = :bucket AND quota_day = :day"
)
_RESERVE = text("""
    INSERT INTO quota_ledger AS ledger (bucket, quota_day, used, "limit", reserved)
    VALUES (:bucket, :day, 0, :limit, :units)
    ON CONFLICT (bucket, quota_day) DO UPDATE SET reserved = excluded.reserved
""")
_REFUSED = text("""
    UPDATE quota_ledger SET refused_at = :now WHERE bucket = :bucket AND quota_day = :day
""")


class QuotaExhausted(IngestionError):
    """The day's units are used up: nothing more may be asked before the reset."""


@dataclass(frozen=True)
class BucketUsage:
    """What is used and left of one bucket on the present Pacific day.

    Attributes:
        bucket: Its name; an emulator's end in `@` and the world.
        used: Units charged.
        limit: Units of a day.
        resets_at: The next midnight in California.
        reserved: Units kept for labels that fall due today.
        refused_at: When YouTube itself said that nothing is left; null while it did not.
    """

    bucket: str
    used: int
    limit: int
    resets_at: datetime
    reserved: int = 0
    refused_at: datetime | None = None

    @property
    def left(self) -> int:
        """Give the units that may still be used before the reset."""
        return 0 if self.refused_at else max(self.limit - self.used, 0)


class QuotaLedger:
    """Charges calls to the ledger in PostgreSQL, which collectors share; never beyond the limit.

    An emulator's units are not YouTube's: they are counted in buckets of their own.

    Units are charged in small blocks, so that not every call waits for a commit. A process that
    dies leaves at most a block charged and unused; `close` gives the rest back, unless it loses its
    connection just then.

    Args:
        engine: The warehouse.
        clock: Tells the Pacific day.
        world: Whose units: `real` or `synthetic`.
        limit: Units a day of every bucket; YouTube's own by default.
        block: Units charged at once.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        world: str,
        limit: int | None = None,
        block: int = 20,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._world = world
        self._limit = limit
        self._block = block
        self._day: date | None = None
        self._held: dict[tuple[str, bool], int] = {}

    def charge(self, bucket: str = LIST, urgent: bool = False) -> None:
        """Take a unit of the day's allowance; raises QuotaExhausted where none is left.

        Args:
            bucket: Which allowance.
            urgent: Whether a label depends on it: such a call may use the units kept for labels.
        """
        now = self._clock()
        if self._day != quota_day(now):
            self.close()
            self._day = quota_day(now)
        held = self._held.get((bucket, urgent), 0)
        if held == 0:
            held = next((n for n in (self._block, 1) if self._take(bucket, n, urgent)), 0)
        if held == 0:
            raise QuotaExhausted(
                f"the units of the bucket {bucket_name(bucket, self._world)!r} are used for "
                f"today: collection goes on after {reset_after(now).isoformat()}"
            )
        self._held[bucket, urgent] = held - 1

    def refused(self, bucket: str) -> None:
        """Note that YouTube says nothing is left, so that no collector asks again today."""
        now = self._clock()
        self._execute(_REFUSED, bucket, quota_day(now), now=now)

    def reserve(self, bucket: str, units: int) -> None:
        """Keep units of today for labels."""
        limit = self._limit_of(bucket)
        self._execute(
            _RESERVE, bucket, quota_day(self._clock()), limit=limit, units=min(units, limit)
        )

    def close(self) -> None:
        """Give back what was charged and not used."""
        held, self._held = self._held, {}
        for (bucket, _), units in held.items():
            if units and self._day is not None:
                self._give_back(bucket, self._day, units)

    def _give_back(self, bucket: str, day: date, units: int) -> None:
        """Give units back at most once: twice, and some that were used could be used again."""
        asked = {"bucket": bucket_name(bucket, self._world), "day": day, "units": units}
        try:
            with through_outages(self._engine.connect) as connection, connection.begin():
                connection.execute(_GIVE_BACK, asked)
        except DBAPIError as error:
            if not is_outage(error):
                raise
            _log.warning("%d units of %s may not have been given back: %s", units, bucket, error)

    def _take(self, bucket: str, units: int, urgent: bool) -> bool:
        assert self._day is not None
        limit = self._limit_of(bucket)
        return self._execute(_CHARGE, bucket, self._day, units=units, limit=limit, urgent=urgent)

    def _execute(self, statement: object, bucket: str, day: date, **values: object) -> bool:
        """Run a statement; give whether it answered with a row."""
        asked = {"bucket": bucket_name(bucket, self._world), "day": day, **values}

        def run() -> bool:
            with self._engine.begin() as connection:
                result = connection.execute(statement, asked)  # type: ignore[call-overload]
                return bool(result.returns_rows and result.first() is not None)

        return through_outages(run)

    def _limit_of(self, bucket: str) -> int:
        return DAILY_LIMITS[bucket] if self._limit is None else self._limit


def bucket_name(bucket: str, world: str) -> str:
    """Name the bucket of a world in the ledger."""
    return bucket if world == "real" else f"{bucket}@{world}"


def quota_day(moment: datetime) -> date:
    """Give the day on YouTube's calendar, which is California's."""
    return moment.astimezone(PACIFIC).date()


def reset_after(moment: datetime) -> datetime:
    """Give the next midnight in California, in UTC; a day there has 23 to 25 hours."""
    tomorrow = quota_day(moment) + timedelta(days=1)
    return datetime.combine(tomorrow, time.min, PACIFIC).astimezone(UTC)


def usage(engine: Engine, now: datetime) -> list[BucketUsage]:
    """Give what is used of each of YouTube's buckets today, and of others that were used."""
    query = text(
        'SELECT bucket, used, "limit", reserved, refused_at FROM quota_ledger '
        "WHERE quota_day = :day"
    )
    resets_at = reset_after(now)
    with engine.connect() as connection:
        rows = connection.execute(query, {"day": quota_day(now)}).all()
    known = {b: BucketUsage(b, 0, limit, resets_at) for b, limit in DAILY_LIMITS.items()}
    known |= {
        r.bucket: BucketUsage(r.bucket, r.used, r.limit, resets_at, r.reserved, r.refused_at)
        for r in rows
    }
    return [known[bucket] for bucket in sorted(known)]
