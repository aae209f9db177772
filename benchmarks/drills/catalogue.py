"""Which drills there are, how often such faults are assumed, and what each is compared with."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.drills import disk, faults
from benchmarks.drills.faults import Inject
from benchmarks.drills.stack import Stack

OURS = "ours"


@dataclass(frozen=True)
class Drill:
    """A fault with our settings, and the same fault with naive ones where settings decide.

    Attributes:
        a_month: How often such a fault happens in a month, assumed on the dark side.
        naive: What is naive about the other run, and what it injects; null without one.
        is_through_naive_balancer: The naive run asks through the naive load balancer.
        may_run: Says why it cannot run here; null if it can.
    """

    name: str
    inject: Inject
    a_month: float
    naive: tuple[str, Inject] | None = None
    is_through_naive_balancer: bool = False
    naive_settings: tuple[tuple[str, str], ...] = ()
    may_run: Callable[[Stack], str | None] = lambda stack: None


def _has_small_disks(stack: Stack) -> str | None:
    return None if stack.has_small_disks else "a small file system cannot be mounted: needs root"


_NO_RETRY = "no retry, slow checks"

DRILLS = (
    Drill(
        "rolling upgrade",
        faults.rolling_upgrade,
        30,
        naive=(f"{_NO_RETRY}, no waiting", faults.hasty_upgrade),
        is_through_naive_balancer=True,
    ),
    Drill(
        "kill -9 of each instance",
        faults.killed_instances,
        10,
        naive=(_NO_RETRY, faults.killed_instances),
        is_through_naive_balancer=True,
    ),
    Drill(
        "hung instance",
        faults.hung_instance,
        10,
        naive=(_NO_RETRY, faults.hung_instance),
        is_through_naive_balancer=True,
    ),
    Drill(
        "Redis Sentinel failover",
        faults.redis_failover,
        4,
        naive=("no Sentinel, no recent features", faults.redis_master_away),
        naive_settings=(("FOREVIEW_REDIS_SENTINELS", ""), ("FOREVIEW_RECENT_FEATURES", "0")),
    ),
    Drill("PostgreSQL crash", faults.postgresql_crash, 4),
    Drill(
        "PostgreSQL restore",
        faults.postgresql_restore,
        1,
        naive=("backup without archive", faults.postgresql_restore_without_archive),
    ),
    Drill("S3 outage", faults.s3_outage, 4),
    Drill(
        "registry outage",
        faults.registry_outage,
        4,
        naive=("no models on disk, no waiting", faults.registry_outage_without_cache),
    ),
    Drill("corrupted bundle", faults.corrupted_bundle, 4),
    Drill("full disk", disk.full_disk, 2, may_run=_has_small_disks),
    Drill("clock skew", faults.clock_skew, 4),
)
