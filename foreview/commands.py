"""The front door's own commands: private servers, and looking after an installation."""

import dataclasses
import json
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from foreview.local import Servers

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


@click.command()
@click.option("--keep", is_flag=True, help="Leave API and page up until Ctrl-C.")
def demo(keep: bool) -> None:
    """Show the whole platform on a synthetic world, on private servers."""
    from foreview.demo import run

    run(keep=keep)


@click.command()
@click.option("--ui", is_flag=True, help="Say where MLflow shows runs, plots and versions.")
@click.option(
    "--observe",
    is_flag=True,
    help="Also `foreview metrics`, and Prometheus, Alertmanager and Grafana where installed.",
)
@as_json
def up(ui: bool, observe: bool, as_json: bool) -> None:
    """Start the private servers; they stay up until `foreview down`."""
    from foreview.local import NAMES

    servers = _servers()
    started: tuple[str, ...] = servers.start()
    missing: tuple[str, ...] = ()
    if not as_json and "mlflow" in started:
        click.echo("PostgreSQL and Redis answer; waiting for MLflow", err=True)
    for name in NAMES:
        servers.wait_for(name)
    if observe:
        watching, missing = servers.observe()
        started = (*started, *watching)
    if as_json:
        running = servers.running()
        click.echo(json.dumps({"started": started, "running": running, "missing": missing}))
        return
    if started:
        click.echo(f"started {', '.join(started)}; data in {servers.state_dir}")
    else:
        click.echo("everything is up already")
    if ui and not as_json:
        click.echo(f"MLflow: {servers.environment()['FOREVIEW_MLFLOW_TRACKING_URI']}")
    if observe:
        _tell_where(servers, missing)


def _tell_where(servers: "Servers", missing: Sequence[str]) -> None:
    """Say where the pages of the watching programs are, and what would add the others."""
    from foreview.servers.observers import NAMES, PACKAGES

    for server in servers.status():
        if server.running and server.name in NAMES:
            click.echo(f"  {server.name}: http://127.0.0.1:{server.port}/")
    for name in missing:
        click.echo(f"  {name} is not installed: {PACKAGES[name]}", err=True)


@click.command()
@click.option("--delete-data", is_flag=True, help="Also delete the state directory. No way back.")
@as_json
def down(delete_data: bool, as_json: bool) -> None:
    """Stop the private servers; their data stay."""
    servers = _servers()
    stopped = () if delete_data else servers.stop()
    if delete_data:
        servers.delete()
    if as_json:
        click.echo(json.dumps({"stopped": stopped, "deleted": delete_data}))
    elif delete_data:
        click.echo(f"deleted {servers.state_dir}")
    else:
        click.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@click.command()
@as_json
def status(as_json: bool) -> None:
    """Tell which private servers run, where, since when, and what they take."""
    from foreview.tables import print_status

    found = _servers().status()
    if as_json:
        click.echo(json.dumps({"servers": [dataclasses.asdict(server) for server in found]}))
    else:
        print_status(found)


@click.command()
@as_json
def env(as_json: bool) -> None:
    """Print exports with which bare `feast` and `mlflow` commands work: eval "$(foreview env)"."""
    from feature_repo.store import feast_environment
    from foreview.settings import LocalSettings

    found = _servers().environment()
    found |= {name: os.environ[name] for name in os.environ if name.startswith("FOREVIEW_")}
    found |= {name: os.environ[name] for name in ("MLFLOW_TRACKING_URI",) if name in os.environ}
    if "FOREVIEW_DATABASE_URL" in found and "FOREVIEW_REDIS_URL" in found:
        found |= feast_environment(
            found["FOREVIEW_DATABASE_URL"],
            LocalSettings().database_schema,
            found["FOREVIEW_REDIS_URL"],
        )
    else:
        click.echo("foreview: no servers: run 'foreview up', or set FOREVIEW_*_URL", err=True)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for name, value in sorted(found.items()):
            click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
@as_json
def doctor(as_json: bool) -> None:
    """Tell what is missing and how to mend it; fails when something needed is."""
    from foreview.diagnosis import diagnose
    from foreview.tables import print_findings

    findings = diagnose(_servers(), os.environ)
    if as_json:
        click.echo(json.dumps({"checks": [dataclasses.asdict(finding) for finding in findings]}))
    else:
        print_findings(findings)
    if any(finding.needed and not finding.ok for finding in findings):
        raise SystemExit(1)


@click.command()
@click.argument("names", nargs=-1)
@as_json
def bench(names: tuple[str, ...], as_json: bool) -> None:
    """Run the benchmarks NAMES, or all of them, and print a table each."""
    from foreview.benchmarking import benchmark_names, run_benchmark
    from foreview.tables import print_rows

    unknown = set(names) - set(benchmark_names())
    if unknown:
        raise click.UsageError(f"no benchmark {', '.join(sorted(unknown))}: {benchmark_names()}")
    results = {}
    for name in names or benchmark_names():
        results[name] = run_benchmark(name)
        if not as_json:
            print_rows(name, results[name])
    if as_json:
        click.echo(json.dumps(results))


def _servers() -> "Servers":
    from foreview.local import Servers
    from foreview.settings import LocalSettings

    return Servers(LocalSettings().state_dir)
