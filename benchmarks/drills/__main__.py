"""Run drills: `python -m benchmarks.drills [NAME...]`; all of them by default."""

import dataclasses
import json
import os
import shutil
import sys
import time
from pathlib import Path

import click

from benchmarks.drills.catalogue import DRILLS, OURS, Drill
from benchmarks.drills.faults import Inject
from benchmarks.drills.load import Load
from benchmarks.drills.processes import DrillFailed
from benchmarks.drills.report import Result, percent, result, row, together
from benchmarks.drills.stack import Stack, open_stack

_BEFORE_SECONDS, _AFTER_SECONDS = 1.5, 2.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@click.option("--per-second", default=100.0, show_default=True, help="Requests asked a second.")
@click.option("--ours-only", is_flag=True, help="Leave out the naive settings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.option("--list", "only_list", is_flag=True, help="Name the drills and stop.")
def main(
    names: tuple[str, ...], per_second: float, *, ours_only: bool, as_json: bool, only_list: bool
) -> None:
    """Break a running platform on purpose, under load, and print what that cost.

    Starts PostgreSQL, Redis with Sentinels, S3, MLflow, three instances and haproxy on loopback,
    and ends them again. Fails if a drill lost a request or an acknowledged row with our settings.
    """
    unknown = set(names) - {drill.name for drill in DRILLS}
    if unknown:
        raise click.UsageError(f"no drill {', '.join(sorted(unknown))}: see --list")
    if only_list:
        click.echo("\n".join(drill.name for drill in DRILLS))
        return
    if shutil.which("haproxy") is None and not Path("/usr/sbin/haproxy").exists():
        raise click.ClickException("haproxy is not installed: apt install haproxy")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    chosen = [drill for drill in DRILLS if not names or drill.name in names]
    with open_stack(_tell) as stack:
        results = [
            found for drill in chosen for found in _run(stack, drill, per_second, not ours_only)
        ]
    _print(results, as_json=as_json)
    ours = [found for found in results if found.settings == OURS]
    if any(found.failed or found.lost for found in ours) or not ours:
        sys.exit(1)


def _run(stack: Stack, drill: Drill, per_second: float, with_naive: bool) -> list[Result]:
    reason = drill.may_run(stack)
    if reason:
        _tell(f"{drill.name}: skipped: {reason}")
        return []
    found = [_measure(stack, drill, OURS, drill.inject, stack.balancer.port, per_second)]
    if with_naive and drill.naive:
        settings, inject = drill.naive
        balancer = stack.naive if drill.is_through_naive_balancer else stack.balancer
        if drill.naive_settings:
            at = stack.online.url(stack.online.master())
            stack.restart_with(FOREVIEW_REDIS_URL=at, **dict(drill.naive_settings))
        found.append(_measure(stack, drill, settings, inject, balancer.port, per_second))
        if drill.naive_settings:
            stack.restart_with()
    return found


def _measure(
    stack: Stack, drill: Drill, settings: str, inject: Inject, port: int, per_second: float
) -> Result:
    _tell(f"{drill.name} ({settings}): {' '.join((inject.__doc__ or '').split())}")
    stack.warm()
    with Load(port, stack.paths, per_second) as load:
        time.sleep(_BEFORE_SECONDS)
        fault = inject(stack)
        time.sleep(_AFTER_SECONDS)
        samples = load.stop()
    found = result(drill.name, settings, samples, fault, per_second, drill.a_month)
    failures = f"{found.failed:,} failed {found.statuses or ''}"
    _tell(f"  {found.requests:,} requests, {failures} {found.note}")
    return found


def _print(results: list[Result], *, as_json: bool) -> None:
    ours = [found for found in results if found.settings == OURS]
    if as_json:
        lines = [dataclasses.asdict(found) for found in results]
        click.echo(json.dumps({"drills": lines, "availability": together(ours)}))
        return
    rows = [row(found) for found in results]
    for at, line in enumerate(rows):
        if at == 0:
            click.echo(f"| {' | '.join(line)} |\n|{' --- |' * len(line)}")
        click.echo(f"| {' | '.join(line.values())} |")
    click.echo(
        f"\nA month with all of these faults, with our settings: {percent(together(ours))} "
        "available (lower bound at 95 % where nothing failed)."
    )


def _tell(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    try:
        main(prog_name="python -m benchmarks.drills")
    except DrillFailed as error:
        click.echo(f"drills: {error}", err=True)
        sys.exit(1)
