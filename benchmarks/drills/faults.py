"""The faults: each is injected under load, and tells when it began and when all was as before."""

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.drills.processes import wait_until
from benchmarks.drills.report import Fault
from benchmarks.drills.stack import SCHEMA, Stack
from benchmarks.drills.stores import elapsed

# What an instance is given to be sent requests again before the next one goes.
_SETTLE_SECONDS = 1.0


def rolling_upgrade(stack: Stack) -> Fault:
    """Stop and start each instance in turn, waiting until the new one is ready."""
    begun = time.monotonic()
    for instance in stack.instances:
        instance.upgrade()
        time.sleep(_SETTLE_SECONDS)
    return Fault(begun, elapsed(begun))


def hasty_upgrade(stack: Stack) -> Fault:
    """Stop and start each instance in turn without waiting for anything."""
    begun = time.monotonic()
    for instance in stack.instances:
        instance.member.stop()
        instance.member.launch()
    for instance in stack.instances:
        instance.member.wait()
    return Fault(begun, elapsed(begun))


def killed_instances(stack: Stack) -> Fault:
    """Kill each instance in turn with SIGKILL, and start it again."""
    begun = time.monotonic()
    for instance in stack.instances:
        instance.member.kill()
        instance.member.start()
        time.sleep(_SETTLE_SECONDS)
    return Fault(begun, elapsed(begun))


def hung_instance(stack: Stack) -> Fault:
    """Freeze one instance, its connections open, for five seconds."""
    begun = time.monotonic()
    stack.instances[0].hang()
    time.sleep(5.0)
    stack.instances[0].resume()
    wait_until(stack.instances[0].member.answers, "the frozen instance to be ready")
    return Fault(begun, elapsed(begun))


def redis_failover(stack: Stack) -> Fault:
    """Kill the Redis master; the Sentinels promote a replica; the old one returns as a replica."""
    old = stack.online.master()
    begun = time.monotonic()
    stack.online.servers[old].kill()
    promoted = wait_until(lambda: stack.online.master() != old, "another Redis master", 60)
    stack.online.servers[old].start()
    wait_until(stack.online.is_replicated, "two Redis replicas", 90)
    return Fault(begun, elapsed(begun), note=f"promoted after {promoted:.1f} s")


def redis_master_away(stack: Stack) -> Fault:
    """Kill the Redis server that is the only one known, and start it again after five seconds."""
    at = stack.online.master()
    begun = time.monotonic()
    stack.online.servers[at].kill()
    time.sleep(5.0)
    stack.online.servers[at].start()
    wait_until(stack.online.is_replicated, "two Redis replicas", 90)
    return Fault(begun, elapsed(begun))


def postgresql_crash(stack: Stack) -> Fault:
    """Kill PostgreSQL with SIGKILL and start it again after three seconds."""
    begun = time.monotonic()
    stack.database.crash()
    time.sleep(3.0)
    stack.database.start()
    return Fault(begun, elapsed(begun))


def postgresql_restore(stack: Stack) -> Fault:
    """Lose PostgreSQL's disk; restore the backup and replay the archive to its end."""
    return _restore(stack, archive=True)


def postgresql_restore_without_archive(stack: Stack) -> Fault:
    """Lose PostgreSQL's disk; restore the backup alone."""
    return _restore(stack, archive=False)


def _restore(stack: Stack, *, archive: bool) -> Fault:
    stack.database.back_up()
    time.sleep(2.0)
    acknowledged = stack.database.logged(SCHEMA)  # first: more are logged while that is archived
    stack.database.archive_everything()
    begun = time.monotonic()
    stack.database.lose_everything()
    stack.database.restore(archive=archive)
    recovered = elapsed(begun)
    lost = len(acknowledged - stack.database.logged(SCHEMA))
    return Fault(begun, recovered, lost=lost, note=f"{len(acknowledged):,} rows were archived")


def s3_outage(stack: Stack) -> Fault:
    """Hang S3 while a new champion is registered; it is served once S3 is back."""
    before = str(stack.instances[0].readiness()["model_digest"])
    digest = stack.register_model(seed=100 + stack.versions)
    begun = time.monotonic()
    stack.files.hang()
    # Whoever has the new model already has it; a restarted instance comes back with its cache.
    stack.instances[0].upgrade()
    time.sleep(2.0)
    stack.files.resume()
    wait_until(lambda: _served(stack) == {digest}, "the new champion everywhere", 60)
    assert digest != before
    return Fault(begun, elapsed(begun))


def registry_outage(stack: Stack) -> Fault:
    """Kill the registry, restart every instance without it, and start it again."""
    return _registry_outage(stack, forget=False)


def registry_outage_without_cache(stack: Stack) -> Fault:
    """The same, but instances keep no models on disk."""
    return _registry_outage(stack, forget=True)


def _registry_outage(stack: Stack, *, forget: bool) -> Fault:
    begun = time.monotonic()
    stack.registry.member.kill()
    for instance in stack.instances:
        instance.member.stop()
        if forget:
            instance.forget_models()
        instance.member.launch()
        if not forget:
            instance.member.wait()
            time.sleep(_SETTLE_SECONDS)
    stack.registry.member.start()
    for instance in stack.instances:
        instance.member.wait()
    return Fault(begun, elapsed(begun))


def corrupted_bundle(stack: Stack) -> Fault:
    """Make a bundle champion whose trees were changed after its digests were taken."""
    served = _served(stack)
    refused = [i.metric("model_refused_total") for i in stack.instances]
    begun = time.monotonic()
    stack.register_model(seed=200 + stack.versions, spoil=_flip_a_bit)
    wait_until(
        lambda: all(
            instance.metric("model_refused_total") > count
            for instance, count in zip(stack.instances, refused, strict=True)
        ),
        "every instance to refuse the bundle",
        60,
    )
    assert _served(stack) == served, "a corrupted bundle is served"
    seen = elapsed(begun)
    digest = stack.register_model(seed=200 + stack.versions)
    wait_until(lambda: _served(stack) == {digest}, "the next champion", 60)
    return Fault(begun, elapsed(begun), note=f"refused everywhere after {seen:.1f} s")


def clock_skew(stack: Stack) -> Fault:
    """Set one instance's clock ten minutes back and another's ten minutes ahead."""
    from datetime import timedelta

    from tests.serving.conftest import NOW

    begun = time.monotonic()
    skews = (timedelta(minutes=-10), timedelta(minutes=10))
    for instance, skew in zip(stack.instances, skews, strict=False):
        instance.member.environment["FOREVIEW_CLOCK"] = (NOW + skew).isoformat()
        instance.upgrade()
        time.sleep(_SETTLE_SECONDS)
    time.sleep(2.0)
    for instance in stack.instances[:2]:
        instance.member.environment["FOREVIEW_CLOCK"] = NOW.isoformat()
        instance.upgrade()
        time.sleep(_SETTLE_SECONDS)
    return Fault(begun, elapsed(begun))


def _served(stack: Stack) -> set[str]:
    return {str(instance.readiness().get("model_digest")) for instance in stack.instances}


def _flip_a_bit(directory: Path) -> None:
    file = directory / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


Inject = Callable[[Stack], Fault]
