"""The command `foreview`: finds the component that has a command, and explains what fails."""

import contextlib
import importlib
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from foreview.explaining import explain

_PACKAGES = Path(__file__).parent.parent


@dataclass(frozen=True)
class Entry:
    """Where a command is defined, and what `foreview --help` says about it.

    Help stands here because reading it from the commands would import every component. `needs` is
    a pattern of files without which a command has nothing to run.
    """

    module: str
    attribute: str
    help: str
    needs: str = "foreview/cli.py"


ENTRIES = {
    "demo": Entry(
        "foreview.commands", "demo", "Show it all on a synthetic world.", needs="foreview/demo.py"
    ),
    "up": Entry("foreview.commands", "up", "Start the private servers."),
    "down": Entry("foreview.commands", "down", "Stop the private servers."),
    "status": Entry("foreview.commands", "status", "Tell which private servers run, and where."),
    "doctor": Entry("foreview.commands", "doctor", "Tell what is missing and how to mend it."),
    "env": Entry("foreview.commands", "env", "Print exports for bare feast and mlflow commands."),
    "emulate": Entry("ingestion.emulate_commands", "emulate", "Serve a local YouTube Data API."),
    "targets": Entry(
        "ingestion.collect_commands", "targets", "Say which videos and channels to watch."
    ),
    "collect": Entry("ingestion.collect_commands", "collect", "Observe the targets that are due."),
    "load": Entry("ingestion.commands", "load", "Load recorded observations."),
    "validate": Entry("ingestion.commands", "validate", "Check the data in the warehouse."),
    "quarantine": Entry(
        "ingestion.landing_commands", "quarantine", "See or retry rows that failed validation."
    ),
    "replay-raw": Entry(
        "ingestion.landing_commands", "replay_raw", "Build the warehouse from the raw landing."
    ),
    "quota": Entry("ingestion.collect_commands", "quota", "Show the YouTube quota used today."),
    "purge": Entry("ingestion.purge_commands", "purge", "Delete what may not be kept any longer."),
    "features": Entry("foreview.feature_commands", "features", "Build, export and judge features."),
    "train": Entry("training.commands", "train", "Train, evaluate and register a model."),
    "evaluate": Entry("foreview.evaluating", "evaluate", "Compare models with the baselines."),
    "stage": Entry("foreview.stages", "stage", "Run one stage of dvc.yaml, from files to files."),
    "promote": Entry("training.commands", "promote", "Make a model version the champion."),
    "serve": Entry("serving.commands", "serve", "Serve forecasts over REST."),
    "forecast": Entry("serving.commands", "forecast", "Forecast videos by their ids."),
    "smoke": Entry("serving.smoke", "smoke", "Ask a service whether it does its work."),
    "keys": Entry("serving.key_commands", "keys", "Make and revoke keys of the API."),
    "replay": Entry("serving.commands", "replay", "Make a logged forecast again."),
    "outcomes": Entry("observability.commands", "outcomes", "Set forecasts beside the truth."),
    "drift": Entry("observability.commands", "drift", "Tell which inputs moved."),
    "metrics": Entry("foreview.exporting", "metrics", "Serve batch jobs' metrics to Prometheus."),
    "skew": Entry("observability.commands", "skew", "Compare logged features with the offline."),
    "bench": Entry(
        "foreview.commands", "bench", "Run the benchmarks.", needs="benchmarks/[a-z]*.py"
    ),
    "compare": Entry("foreview.comparing", "compare", "Compare two results of `bench`."),
}


class CommandFailed(click.ClickException):
    """A failure in one clear line, and as JSON for who asked for that."""

    def __init__(self, message: str, *, as_json: bool) -> None:
        super().__init__(message)
        self._as_json = as_json

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"foreview: {self.message}", err=True, file=file)
        if self._as_json:
            click.echo(json.dumps({"error": self.message}))


class FrontDoor(click.Group):
    """Imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands that are there."""
        return [name for name, entry in ENTRIES.items() if _exists(entry)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        entry = ENTRIES.get(cmd_name)
        if entry is None or not _exists(entry):
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}:{entry.attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, ENTRIES[name].help) for name in self.list_commands(ctx)])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Notice whether a machine asks."""
        ctx.meta["foreview.json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; say in one line what failed, unless FOREVIEW_DEBUG asks for all of it."""
        try:
            fill_environment()
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            message = explain(error, os.environ)
            if message is None or os.environ.get("FOREVIEW_DEBUG"):
                raise
            raise CommandFailed(message, as_json=ctx.meta["foreview.json"]) from error


@click.group(cls=FrontDoor, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="foreview")
def cli() -> None:
    """Forecast how YouTube videos will perform."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line."""
    # Threads that spin while they wait slow each other down many times over on a busy machine. For
    # some microseconds, as most of their waits take, it is faster than to sleep; ten times as long
    # would double the time of two fits that share two cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "1500")
    # A title or a tick that the locale has no character for must not end a command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    cli.main(args=args, prog_name="foreview")


def fill_environment() -> None:
    """Set what is not set: from `.env`, then from the private servers that run.

    What the user set always wins, so that the same commands work on the user's own servers.
    """
    from dotenv import dotenv_values

    _set_defaults({name: value for name, value in dotenv_values(".env").items() if value})
    state_dir = Path(os.environ.get("FOREVIEW_STATE_DIR", ".foreview"))
    if (state_dir / "servers.json").exists():
        from foreview.errors import LocalServersError
        from foreview.local import Servers

        # Who needs the servers will miss their addresses; `down --delete-data` must still work.
        with contextlib.suppress(LocalServersError):
            _set_defaults(Servers(state_dir).environment())
    tracking_uri = os.environ.get("FOREVIEW_MLFLOW_TRACKING_URI")
    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri


def _set_defaults(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def _exists(entry: Entry) -> bool:
    """Tell whether a command is defined, by its source: importing it could take seconds."""
    source = _PACKAGES / f"{entry.module.replace('.', '/')}.py"
    if not source.exists() or not any(_PACKAGES.glob(entry.needs)):
        return False
    text = source.read_text(encoding="utf-8")
    return f"\ndef {entry.attribute}(" in text or f"\n{entry.attribute} = " in text


if __name__ == "__main__":
    main()
