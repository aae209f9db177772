"""`dvc repro` in a fresh clone, on a small synthetic record."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def environment(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    clone = tmp_path_factory.mktemp("dvc") / "clone"
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    _make_small(clone / "training" / "params.yaml")
    return os.environ | {
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
        "PWD": str(clone),
        "FOREVIEW_DATABASE_URL": database_url,
        "FOREVIEW_REDIS_URL": redis_url,
        "DVC_NO_ANALYTICS": "1",
    }


def _make_small(file: Path) -> None:
    """Ask for a record and a model that are quickly made."""
    params = yaml.safe_load(file.read_text())
    params["snapshot"] |= {"days": 50, "channels": 25}
    params["intervals"]["min_labels"] = 20
    params["robustness"]["windows_days"] = []
    params["lightgbm"] |= {"n_estimators": 30, "learning_rate": 0.15}
    params["draft"] |= {"n_estimators": 30, "learning_rate": 0.15}
    file.write_text(yaml.safe_dump(params))


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command,
        cwd=environment["PWD"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_fresh_clone_makes_reports_and_the_same_inputs_the_same_models(
    environment: dict[str, str],
) -> None:
    clone = Path(environment["PWD"])
    run(environment, "dvc", "repro")
    made = json.loads((clone / "training/outputs/models/metrics.json").read_text())
    assert made["published"]["labels"] > 1_000
    shown = json.loads(run(environment, "dvc", "metrics", "show", "--json"))
    metrics = shown[""]["data"]["training/outputs/reports/metrics.json"]["data"]
    assert metrics["published"]["views_1d_rmse_log10"] > 0
    assert "<svg" in (clone / "training/outputs/reports/report.html").read_text()

    # The gate judges what the report holds, whether so small a model passes or not.
    gate = ["foreview", "stage", "check", "--reports", "training/outputs/reports"]
    told = subprocess.run(
        gate, cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    assert "1 d: model" in told.stdout, told.stderr

    # Only what always asks for its record runs again, and finds the same one.
    again = run(environment, "dvc", "repro")
    assert "Stage 'train' didn't change, skipping" in again

    run(
        environment, "dvc", "repro", "--force", "--single-item", "features", "training_set", "train"
    )
    assert json.loads((clone / "training/outputs/models/metrics.json").read_text()) == made
