"""Runs one command of ours in this process and gives its JSON answer, for schedulers."""

import json
import os
import select
import signal
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from threading import Thread
from typing import Any

import click

from foreview.cli import cli
from foreview.errors import ForeviewError


class JobFailed(ForeviewError):
    """A command did not do what it was asked to; the message is what it would have printed."""


def end_unheard() -> None:
    """End this process once nobody reads any more what it prints.

    A scheduler that gives a command up, because its time is over or itself was killed, closes the
    pipe; it does not end the command, and may wait for it without end.
    """
    Thread(target=_end_unheard, daemon=True).start()


def _end_unheard() -> None:
    reader = select.poll()
    reader.register(1, 0)  # no events but the pipe's end; a file or a terminal has none
    reader.poll()
    os.kill(os.getpid(), signal.SIGTERM)


def run(*args: str, keep: Sequence[str] = ()) -> dict[str, Any]:
    """Run `foreview ARGS --json` without a process of its own.

    Args:
        args: The command and its options, without `--json`.
        keep: What of the answer to give back, as `key`, or `key.part` of each element of a list;
            all when empty. A scheduler stores answers.

    Raises:
        JobFailed: The command failed, or was used wrongly.
    """
    printed = StringIO()
    try:
        with redirect_stdout(printed):
            # click gives back the code of `sys.exit` and of `ctx.exit` here, instead of exiting
            code = cli.main(args=[*args, "--json"], prog_name="foreview", standalone_mode=False)
    except click.ClickException as error:
        raise JobFailed(error.format_message()) from error
    except SystemExit as exit_:
        code = exit_.code
    if code:
        raise JobFailed(f"foreview {' '.join(args)} ended with {code}: {printed.getvalue()}")
    answer = json.loads(printed.getvalue())
    return _kept(answer, keep) if keep else answer


def _kept(answer: dict[str, Any], keep: Sequence[str]) -> dict[str, Any]:
    plain = {name: answer[name] for name in keep if "." not in name}
    parts: dict[str, list[str]] = {}
    for name in keep:
        key, _, part = name.partition(".")
        if part:
            parts.setdefault(key, []).append(part)
    listed = {
        key: [{p: e[p] for p in chosen} for e in answer[key]] for key, chosen in parts.items()
    }
    return plain | listed
