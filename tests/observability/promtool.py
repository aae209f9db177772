"""Runs rules over made series with Prometheus' own engine."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = sorted(Path("observability/prometheus/rules").glob("*.yml"))
FIRING = 'count by (alertname) (ALERTS{alertstate="firing",alertname!="Watchdog"})'


def require(program: str) -> str:
    """Find a program, or skip the test loudly."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (Debian: prometheus, prometheus-alertmanager)")
    return path


def scenario(
    name: str, series: Mapping[str, str], expected: Mapping[str, int], at: str, interval: str = "1m"
) -> dict[str, Any]:
    """Describe a promtool test: these series, and exactly these alerts firing at a moment."""
    samples = [
        {"labels": f'{{alertname="{alert}"}}', "value": count} for alert, count in expected.items()
    ]
    return {
        "name": name,
        "interval": interval,
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [{"expr": FIRING, "eval_time": at, "exp_samples": samples}],
    }


def run(directory: Path, scenarios: list[dict[str, Any]], interval: str = "1m") -> str:
    """Run scenarios; gives promtool's complaints, empty when all is as expected."""
    promtool = require("promtool")
    tests = {
        "rule_files": [str(path.absolute()) for path in RULES],
        "evaluation_interval": interval,
        "tests": scenarios,
    }
    file = directory / "rules_test.yml"
    file.write_text(yaml.safe_dump(tests, sort_keys=False))
    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def fired(directory: Path, one: dict[str, Any], days: int) -> set[str]:
    """Name the alerts that fired at any time of a scenario, but for the watchdog."""
    firing = f'ALERTS{{alertstate="firing",alertname!="Watchdog"}}[{days}d]'
    ever = f"count by (alertname) (count_over_time({firing}))"
    one["promql_expr_test"][0]["expr"] = ever
    told = run(directory, [one], interval="30m")
    assert not told or "FAILED" in told, told
    return set(re.findall(r'\{alertname="(\w+)"\}', told.partition("got:")[2]))
