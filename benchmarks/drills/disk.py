"""A full disk under the Redis master."""

import contextlib
import time

import redis

from benchmarks.drills.processes import wait_until
from benchmarks.drills.report import Fault
from benchmarks.drills.stack import Stack
from benchmarks.drills.stores import elapsed


def full_disk(stack: Stack) -> Fault:
    """Fill the disk of the Redis master: it refuses writes and PING; forecasts only read."""
    at = stack.online.master()
    filler = stack.online.servers[at].directory / "filler"
    begun = time.monotonic()
    try:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        refused = wait_until(lambda: not _takes_writes(stack, at), "Redis to refuse writes", 30)
        time.sleep(3.0)
    finally:
        filler.unlink()
    wait_until(lambda: _takes_writes(stack, stack.online.master()), "Redis to take writes", 60)
    wait_until(stack.online.is_replicated, "two Redis replicas", 90)
    moved = "the Sentinels moved on" if stack.online.master() != at else "the master stayed"
    return Fault(begun, elapsed(begun), note=f"writes refused after {refused:.1f} s; {moved}")


def _takes_writes(stack: Stack, at: int) -> bool:
    try:
        with redis.Redis.from_url(stack.online.url(at), socket_timeout=2) as client:
            client.set("foreview:drill", "x" * 4096)
    except redis.RedisError:
        return False
    return True
