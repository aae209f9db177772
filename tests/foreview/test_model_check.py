"""`foreview stage check`: a model that a baseline beats does not pass."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foreview.cli import cli


def checked(directory: Path, errors: dict[int, dict[str, float]]) -> Result:
    """Check a report in which models have these errors of views, by days ahead."""
    asked = {"situation": "published", "metric": "views", "subset": "all"}
    rows = [
        asked | {"horizon_days": days, "model": model, "rmse_log10": error}
        for days, by_model in errors.items()
        for model, error in by_model.items()
    ]
    # What is asked of other things decides nothing.
    rows += [row | {"metric": "likes", "rmse_log10": 9.0} for row in rows]
    (directory / "scores.json").write_text(json.dumps({"rows": rows}))
    return CliRunner().invoke(cli, ["stage", "check", "--reports", str(directory)])


def test_a_model_better_than_every_baseline_passes(tmp_path):
    result = checked(
        tmp_path, {1: {"lightgbm": 0.1, "persistence": 0.2}, 7: {"lightgbm": 0.3, "a": 0.4}}
    )
    assert result.exit_code == 0
    assert "7 d: model 0.3000, best baseline 0.4000 (a)" in result.stdout


@pytest.mark.parametrize("worse", [0.2, 0.3])
def test_a_model_that_one_baseline_equals_or_beats_at_one_horizon_fails(tmp_path, worse):
    errors = {1: {"lightgbm": 0.1, "a": 0.2}, 7: {"lightgbm": worse, "a": 0.2, "b": 0.9}}
    result = checked(tmp_path, errors)
    assert result.exit_code == 1
    assert "a baseline is better: 7 d" in result.output


def test_a_report_that_judges_nothing_fails(tmp_path):
    assert checked(tmp_path, {}).exit_code == 1
