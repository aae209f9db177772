"""Two results of benchmarks as ratios, and a benchmark really measured beside itself."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foreview.cli import cli

ROOT = Path(__file__).parents[2]
ROW = {"way": "ours", "rows": 900, "rows/s": [90, 110, 100], "seconds, median": 2.0, "peak MB": 50}


def compared(directory: Path, before: object, after: object, *args: str) -> Result:
    for name, rows in (("before", before), ("after", after)):
        (directory / f"{name}.json").write_text(json.dumps({"bench": rows}))
    files = [f"--before={directory / 'before.json'}", f"--after={directory / 'after.json'}"]
    return CliRunner().invoke(cli, ["compare", *files, *args])


def test_what_got_worse_than_the_bound_is_a_regression_and_what_got_better_is_none(tmp_path):
    slower = ROW | {"rows/s": [50], "seconds, median": 1.0, "rows": 800}
    result = compared(tmp_path, [ROW], [slower], "--json")
    assert result.exit_code == 1
    found = {r["column"]: r["worse_by"] for r in json.loads(result.stdout)["ratios"]}
    assert found == {"rows/s": 2.0, "seconds, median": 0.5, "peak MB": 1.0}


def test_a_table_marks_the_regression_and_no_other(tmp_path):
    result = compared(tmp_path, [ROW], [ROW | {"peak MB": 80}])
    marked = [line for line in result.stdout.splitlines() if "**regression**" in line]
    assert result.exit_code == 1
    assert marked == ["| bench | ours | peak MB | 50 | 80 | ×1.60 | **regression** |"]


def test_what_stays_within_the_bound_passes(tmp_path):
    result = compared(tmp_path, [ROW], [ROW | {"peak MB": 80}], "--bound=1.7")
    assert result.exit_code == 0
    assert "regression" not in result.stdout


def test_repeated_rows_count_by_their_median(tmp_path):
    rows = [ROW | {"repetition": n, "seconds, median": s} for n, s in enumerate((1.0, 2.0, 9.0))]
    assert compared(tmp_path, [ROW], rows).exit_code == 0


@pytest.mark.parametrize("after", [[], [ROW | {"way": "theirs"}], [ROW | {"peak MB": 0}]])
def test_results_that_cannot_be_compared_are_refused(tmp_path, after):
    result = compared(tmp_path, [ROW], after)
    assert result.exit_code == 1
    assert "different things" in result.output or "no measurement" in result.output


@pytest.mark.parametrize("written", ["no JSON", "[1]", '{"bench": 3}', '{"bench": [3]}'])
def test_a_file_that_is_no_benchmark_s_is_named(tmp_path, written):
    file = tmp_path / "written.json"
    file.write_text(written)
    result = CliRunner().invoke(cli, ["compare", f"--before={file}", f"--after={file}"])
    assert result.exit_code == 1
    assert f"{file} is not what `bench --json` wrote" in result.output


@pytest.mark.trial
@pytest.mark.timeout(1900)
def test_a_commit_is_measured_beside_this_tree(tmp_path):
    done = subprocess.run(
        [ROOT / "benchmarks" / "regression", "HEAD", "historical_join"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BOUND": "5"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert lines[0].startswith("| benchmark | row | measured |")
    assert len(lines) > 4
