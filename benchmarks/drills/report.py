"""What a drill measured, in numbers and words; pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.drills.load import Sample

MONTH_SECONDS = 30 * 24 * 3600.0
# With no failure in n requests, 95 times in 100 the rate of failures is below 3 / n.
_RULE_OF_THREE = 3.0


@dataclass(frozen=True)
class Fault:
    """What a drill did, told by it.

    Attributes:
        begun: When the fault began, on the monotonic clock.
        recovered_seconds: From then until everything was as before; null if nothing had to be.
        lost: Rows that were acknowledged and are gone.
        note: What else was seen.
    """

    begun: float
    recovered_seconds: float | None = None
    lost: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Result:
    """A line of the table.

    Attributes:
        felt_seconds: From the fault to the end of the last request that failed; 0 if none did.
        outage_seconds: Time of full outage that equals the failed requests, per drill.
    """

    drill: str
    settings: str
    requests: int
    failed: int
    degraded: int
    p99_ms: float
    worst_ms: float
    felt_seconds: float
    recovered_seconds: float | None
    outage_seconds: float
    a_month: float
    availability: float
    lost: int | None
    note: str
    statuses: dict[int, int] = field(default_factory=dict)


def result(
    drill: str,
    settings: str,
    samples: Sequence[Sample],
    fault: Fault,
    per_second: float,
    a_month: float,
) -> Result:
    """Put one drill into numbers.

    Args:
        drill: Its name.
        settings: Ours, or what the naive ones are.
        samples: All requests, before, during and after the fault.
        fault: What was done.
        per_second: Requests asked a second.
        a_month: How often such a fault is assumed to happen in a month.
    """
    bad = [sample for sample in samples if sample.status != 200]
    times = sorted(sample.seconds for sample in samples)
    outage = len(bad) / per_second
    felt = max((sample.due + sample.seconds - fault.begun for sample in bad), default=0.0)
    return Result(
        drill=drill,
        settings=settings,
        requests=len(samples),
        failed=len(bad),
        degraded=sum(sample.is_degraded for sample in samples),
        p99_ms=1000 * times[int(0.99 * (len(times) - 1))],
        worst_ms=1000 * times[-1],
        felt_seconds=max(0.0, felt),
        recovered_seconds=fault.recovered_seconds,
        outage_seconds=outage,
        a_month=a_month,
        availability=month_availability(outage, a_month, per_second),
        lost=fault.lost,
        note=fault.note,
        statuses={s: sum(x.status == s for x in bad) for s in sorted({x.status for x in bad})},
    )


def month_availability(outage_seconds: float, a_month: float, per_second: float) -> float:
    """Give the availability of a month with so many such faults and nothing else.

    Where nothing failed it is a lower bound at 95 % confidence, from the number of requests that
    one second of outage would have cost.
    """
    cost = outage_seconds or _RULE_OF_THREE / per_second
    return max(0.0, 1.0 - cost * a_month / MONTH_SECONDS)


def together(results: Sequence[Result]) -> float:
    """Give the availability of a month in which all of these faults happen, each as often."""
    return max(0.0, 1.0 - sum(1.0 - result.availability for result in results))


def percent(share: float) -> str:
    """Give a share in per cent, cut off and never rounded up."""
    return f"{math.floor(share * 1e7) / 1e5:.5f} %"


def row(result: Result) -> dict[str, str]:
    """Give a result as a line of the table."""
    bound = "≥ " if not result.failed else ""
    recovered = "–" if result.recovered_seconds is None else f"{result.recovered_seconds:.1f}"
    return {
        "drill": result.drill,
        "settings": result.settings,
        "requests": f"{result.requests:,}",
        "failed": f"{result.failed:,}",
        "degraded": f"{result.degraded:,}",
        "p99 ms": f"{result.p99_ms:,.0f}",
        "worst ms": f"{result.worst_ms:,.0f}",
        "felt s": f"{result.felt_seconds:.1f}",
        "recovered s": recovered,
        "a month": f"{result.a_month:g}",
        "availability": f"{bound}{percent(result.availability)}",
        "rows lost": "–" if result.lost is None else f"{result.lost:,}",
    }
