"""The command line: what it lists, what it exits with, how it explains failures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from foreview.cli import ENTRIES, cli
from foreview.local import NAMES, Servers
from foreview.servers.state import free_port


def foreview(*arguments: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as a user does, with nothing set but `variables`."""
    return subprocess.run(
        [sys.executable, "-m", "foreview.cli", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_is_quick_and_imports_no_component(tmp_path: Path) -> None:
    script = "import sys; from foreview.cli import main\ntry:\n    main(['--help'])\n"
    script += "finally:\n    print(sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    heavy = ("feast", "pandas", "numpy", "mlflow", "sqlalchemy", "psutil", "pydantic", "redis")
    assert "Commands:" in done.stdout
    assert not any(f"'{name}'" in done.stdout for name in heavy)


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_a_listed_command_is_one_that_can_run(name: str) -> None:
    context = click.Context(cli)
    if name in cli.list_commands(context):
        assert isinstance(cli.get_command(context, name), click.Command)


def test_wrong_use_exits_with_2(tmp_path: Path) -> None:
    assert foreview("nonsense", cwd=tmp_path).returncode == 2
    assert foreview("up", "--nonsense", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("quarantine", "list", "--limit", "-1"),
        ("emulate", "--port", "99999"),
        ("keys", "create", "dashboards", "--days", "99999999999"),
        ("keys", "rotate", "dashboards", "--grace-hours", "1e300"),
    ],
)
def test_a_number_that_cannot_be_is_wrong_use(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = foreview(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert f"'{arguments[-2]}'" in done.stderr


def test_a_terminal_that_knows_few_characters_gets_the_others_replaced(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert foreview("forecast", "--help", cwd=tmp_path, **ascii_only).returncode == 0
    done = foreview("doctor", cwd=tmp_path, **ascii_only)
    assert "Traceback" not in done.stderr
    assert "disk space" in done.stdout


def test_servers_that_came_up_outlive_the_command_until_they_are_taken_down(
    state_dir: Path,
) -> None:
    here = {"FOREVIEW_STATE_DIR": str(state_dir)}

    assert foreview("up", cwd=state_dir, **here).returncode == 0
    again = foreview("up", cwd=state_dir, **here)
    assert (again.returncode, again.stdout) == (0, "everything is up already\n")
    found = json.loads(foreview("status", "--json", cwd=state_dir, **here).stdout)["servers"]
    assert [server["name"] for server in found if server["running"]] == list(NAMES)
    health = json.loads(foreview("doctor", "--json", cwd=state_dir, **here).stdout)["checks"]
    assert all(check["ok"] for check in health if check["check"].startswith("FOREVIEW_"))

    assert foreview("down", cwd=state_dir, **here).returncode == 0
    assert Servers(state_dir).running() == ()


def test_commands_at_the_same_time_start_one_set_of_servers(state_dir: Path) -> None:
    command = [sys.executable, "-m", "foreview.cli", "up", "--json"]
    environment = os.environ | {"FOREVIEW_STATE_DIR": str(state_dir)}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [json.loads(process.communicate()[0]) for process in both]
    assert sorted(len(answer["started"]) for answer in answers) == [0, len(NAMES)]


def test_a_shell_can_evaluate_the_exports(servers: Servers, tmp_path: Path) -> None:
    here = {"FOREVIEW_STATE_DIR": str(servers.state_dir), "FOREVIEW_LANDING_URL": "a 'b' $c"}
    exports = foreview("env", cwd=tmp_path, **here).stdout
    script = f"{exports}\nprintenv FOREVIEW_DATABASE_URL FOREVIEW_LANDING_URL FOREVIEW_FEAST_HOST"
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.splitlines() == [
        Servers(servers.state_dir).environment()["FOREVIEW_DATABASE_URL"],
        "a 'b' $c",
        "127.0.0.1",
    ]


def test_a_dotenv_file_wins_over_private_servers_and_the_environment_over_both(
    servers: Servers, tmp_path: Path
) -> None:
    here = {"FOREVIEW_STATE_DIR": str(servers.state_dir), "FOREVIEW_REDIS_URL": "redis://mine"}
    (tmp_path / ".env").write_text(
        "FOREVIEW_DATABASE_URL=postgresql://own@db.example/x\nFOREVIEW_REDIS_URL=redis://other\n"
    )
    found = json.loads(foreview("env", "--json", cwd=tmp_path, **here).stdout)
    assert found["FOREVIEW_DATABASE_URL"] == "postgresql://own@db.example/x"
    assert found["FOREVIEW_REDIS_URL"] == "redis://mine"
    assert found["FOREVIEW_MLFLOW_TRACKING_URI"].startswith("http://127.0.0.1:")


def test_a_state_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = foreview("up", "--json", cwd=tmp_path, FOREVIEW_STATE_DIR=str(tmp_path / "file" / "x"))
    assert done.returncode == 1
    assert done.stderr.startswith("foreview: cannot write to")
    assert len(done.stderr.splitlines()) == 1
    assert "cannot write" in json.loads(done.stdout)["error"]


def test_debugging_shows_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    here = {"FOREVIEW_STATE_DIR": str(tmp_path / "file" / "x"), "FOREVIEW_DEBUG": "1"}
    done = foreview("up", cwd=tmp_path, **here)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_doctor_fails_and_says_how_to_mend(tmp_path: Path) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/x"
    done = foreview("doctor", "--json", cwd=tmp_path, FOREVIEW_DATABASE_URL=url)
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert not checks["FOREVIEW_DATABASE_URL"]["ok"]
    assert "foreview up" in checks["FOREVIEW_DATABASE_URL"]["remedy"]
    assert "secret" not in done.stdout
