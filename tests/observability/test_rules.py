"""Each alert fires on what it is for and no other does; in good health all are silent."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from foreview.servers.observers import alertmanager_settings
from serving.metrics import ServingMetrics
from tests.observability.promtool import RULES, require, run, scenario

LONG = "x200"  # minutes of a scenario, and more
HOUR = 3600

LAG = 'materialization_lag_seconds{feature_view="video_performance",instance="j"}'
FRESH = 'feature_freshness_seconds{feature_view="video_performance",instance="j"}'
OBSERVED = 'observation_age_seconds{world="real",instance="j"}'
OVERDUE = 'ingestion_overdue_targets{world="real",instance="j"}'
JUDGED = 'job_last_success_age_seconds{batch_job="outcomes",instance="j"}'

SCORE = 'world="real",metric="views",model_version="all",horizon_days="0",tier="all",format="all"'

HEALTHY = {
    'up{job="foreview-serving",instance="a"}': f"1+0{LONG}",
    'up{job="foreview-serving",instance="b"}': f"1+0{LONG}",
    'up{job="foreview-jobs",instance="j"}': f"1+0{LONG}",
    'forecasts_total{outcome="answered",instance="a"}': f"0+6000{LONG}",
    'forecasts_total{outcome="unknown_video",instance="a"}': f"0+600{LONG}",
    'forecasts_total{outcome="features_unavailable",instance="a"}': f"0+3{LONG}",
    'forecast_duration_seconds_bucket{le="0.02",instance="a"}': f"0+5970{LONG}",
    'forecast_duration_seconds_bucket{le="0.2",instance="a"}': f"0+5999{LONG}",
    'forecast_duration_seconds_count{instance="a"}': f"0+6000{LONG}",
    'model_info{version="3",world="real",instance="a"}': f"1+0{LONG}",
    'model_info{version="3",world="real",instance="b"}': f"1+0{LONG}",
    'model_refused_total{instance="a"}': f"0+0{LONG}",
    'forecast_log_lost_total{instance="a"}': f"0+0{LONG}",
    'forecast_log_lag_seconds{instance="a"}': f"1+0{LONG}",
    'forecast_log_queued{instance="a"}': f"5+0{LONG}",
    'metrics_query_failed{query="jobs",instance="j"}': f"0+0{LONG}",
    OBSERVED: f"3600+0{LONG}",
    OVERDUE: f"0+0{LONG}",
    'feature_build_lag_seconds{instance="j"}': f"600+0{LONG}",
    LAG: f"60+0{LONG}",
    'materialization_lag_seconds{feature_view="video_profile",instance="j"}': f"0+0{LONG}",
    FRESH: f"4000+0{LONG}",
    'youtube_quota_units_used{bucket="list"}': f"5000+0{LONG}",
    'youtube_quota_units_limit{bucket="list"}': f"10000+0{LONG}",
    'job_rows_total{batch_job="collect",kind="loaded"}': f"0+100{LONG}",
    'job_rows_total{batch_job="collect",kind="quarantined"}': f"0+1{LONG}",
    'job_last_run_failed{batch_job="collect",instance="j"}': f"0+0{LONG}",
    JUDGED: f"3600+0{LONG}",
    'job_last_success_age_seconds{batch_job="drift",instance="j"}': f"3600+0{LONG}",
    'forecast_outcomes{world="real",status="scored"}': f"900+0{LONG}",
    'forecast_outcomes{world="real",status="never"}': f"100+0{LONG}",
    'forecast_outcomes{world="real",status="waiting"}': f"5000+0{LONG}",
    f"forecast_error_log10{{{SCORE}}}": f"0.1+0{LONG}",
    f"forecast_persistence_error_log10{{{SCORE}}}": f"0.3+0{LONG}",
    f"forecast_interval_coverage_ratio{{{SCORE}}}": f"0.8+0{LONG}",
    f"forecast_scored_videos{{{SCORE}}}": f"500+0{LONG}",
    'drift_state{world="real",kind="feature",name="is_music",status="stable"}': f"1+0{LONG}",
    'drift_effect_log10{world="real",kind="feature",name="is_music"}': f"0.5+0{LONG}",
    'skew_values{world="real",result="compared"}': f"9000+0{LONG}",
    'skew_values{world="real",result="behind"}': f"90+0{LONG}",
    'skew_values{world="real",result="mismatched"}': f"0+0{LONG}",
}


class Case(NamedTuple):
    """What differs from good health, and the alerts that are right to fire (None: no series)."""

    changes: dict[str, str | None]
    expected: dict[str, int] = {}  # noqa: RUF012  (never changed)
    at: str = "150m"


DRIFTED = 'drift_state{world="real",kind="%s",name="%s",status="%s"}'

CASES = {
    "good health": Case({}),
    "an instance is down": Case(
        {
            'up{job="foreview-serving",instance="b"}': "1+0x139 0+0x60",
            'model_info{version="3",world="real",instance="b"}': "1+0x139 stale",
        },
        {"ForecastInstanceDown": 1},
    ),
    "no instance is known": Case(
        {f'up{{job="foreview-serving",instance="{i}"}}': None for i in "ab"},
        {"ForecastServiceAbsent": 1},
    ),
    "one in fifty forecasts fails": Case(
        {'forecasts_total{outcome="features_unavailable",instance="a"}': f"0+130{LONG}"},
        {"ForecastAvailabilityBurnsFast": 1, "ForecastAvailabilityBurnsSlowly": 1},
    ),
    "two in a thousand forecasts fail": Case(
        {'forecasts_total{outcome="features_unavailable",instance="a"}': f"0+13{LONG}"},
        {"ForecastAvailabilityBurnsSlowly": 1},
    ),
    "clients ask for what does not exist": Case(
        {'forecasts_total{outcome="unknown_video",instance="a"}': f"0+60000{LONG}"}
    ),
    "nothing is asked of new instances": Case(
        {s: f"0+0{LONG}" for s in HEALTHY if s.startswith(("forecasts_total", "forecast_duration"))}
    ),
    "an instance that never failed answers nothing for two minutes": Case(
        {'forecasts_total{outcome="features_unavailable",instance="a"}': "0+0x137 12000+0x60"},
        {"ForecastAvailabilityBurnsFast": 1},
    ),
    "nobody asks": Case(
        {
            s: None
            for p in ("forecasts_total", "forecast_duration")
            for s in HEALTHY
            if s.startswith(p)
        }
    ),
    "a fifth of the requests takes more than 20 ms": Case(
        {'forecast_duration_seconds_bucket{le="0.02",instance="a"}': f"0+4800{LONG}"},
        {"ForecastLatencyBurnsFast": 1},
    ),
    "one in fifty takes more than 200 ms": Case(
        {
            'forecast_duration_seconds_bucket{le="0.2",instance="a"}': f"0+5880{LONG}",
            'forecast_duration_seconds_bucket{le="0.02",instance="a"}': f"0+5800{LONG}",
        },
        {"ForecastLatencyBurnsFast": 1},
    ),
    "an instance has no model": Case(
        {'model_info{version="3",world="real",instance="b"}': None}, {"NoModelServed": 1}
    ),
    "instances serve two models": Case(
        {
            'model_info{version="3",world="real",instance="b"}': None,
            'model_info{version="2",world="real",instance="b"}': f"1+0{LONG}",
        },
        {"ModelVersionsDiffer": 1},
    ),
    "a model was just rolled out to one": Case(
        {
            'model_info{version="3",world="real",instance="b"}': "1+0x140 stale",
            'model_info{version="4",world="real",instance="b"}': "_x141 1+0x60",
        },
    ),
    "a champion is refused": Case(
        {'model_refused_total{instance="a"}': "0+0x145 1+0x50"}, {"ModelRefused": 1}
    ),
    "forecasts are lost": Case(
        {'forecast_log_lost_total{instance="a"}': "0+0x145 7+0x50"}, {"ForecastLogLosesRows": 1}
    ),
    "the log lags": Case(
        {'forecast_log_lag_seconds{instance="a"}': f"60+0{LONG}"}, {"ForecastLogLags": 1}
    ),
    "the exporter is down": Case(
        {'up{job="foreview-jobs",instance="j"}': f"0+0{LONG}"}, {"PlatformMetricsDown": 1}
    ),
    "there is no exporter": Case(
        {'up{job="foreview-jobs",instance="j"}': None}, {"PlatformMetricsDown": 1}
    ),
    "part of the metrics cannot be read": Case(
        {'metrics_query_failed{query="jobs",instance="j"}': f"1+0{LONG}"},
        {"PlatformMetricsIncomplete": 1},
    ),
    "the exporter says nothing of observations": Case(
        {OBSERVED: None},
        {"PlatformMetricsMissing": 1},
    ),
    "the collector is stuck": Case(
        {
            OBSERVED: f"{13 * HOUR}+0{LONG}",
            OVERDUE: f"5+0{LONG}",
            FRESH: f"{13 * HOUR}+0{LONG}",
        },
        {"CollectionStuck": 1},
    ),
    "nothing is collected, and nobody says what is due": Case(
        {OBSERVED: f"{13 * HOUR}+0{LONG}", OVERDUE: None}, {"CollectionStuck": 1}
    ),
    "all videos are old and looked at once a week": Case(
        {OBSERVED: f"{50 * HOUR}+0{LONG}", FRESH: f"{51 * HOUR}+0{LONG}"},
    ),
    "the collector has paused for a night": Case(
        {OBSERVED: f"{11 * HOUR}+0{LONG}", OVERDUE: f"5+0{LONG}"},
    ),
    "features are not built": Case(
        {'feature_build_lag_seconds{instance="j"}': f"{7 * HOUR}+0{LONG}"},
        {"FeatureTablesBehind": 1},
    ),
    "materialization is green and empty": Case(
        {LAG: f"{7 * HOUR}+0{LONG}"},
        {"MaterializationBehind": 1},
    ),
    "the online store is empty": Case(
        {LAG: f"+Inf+0{LONG}"},
        {"MaterializationBehind": 1},
    ),
    "what is online is two days old": Case(
        {FRESH: f"{48 * HOUR}+0{LONG}"},
        {"OnlineFeaturesStale": 1},
    ),
    "the quota runs out": Case(
        {'youtube_quota_units_used{bucket="list"}': f"9500+0{LONG}"}, {"QuotaNearlyUsed": 1}
    ),
    "a tenth of the rows is refused": Case(
        {'job_rows_total{batch_job="collect",kind="quarantined"}': f"0+11{LONG}"},
        {"QuarantineFills": 1},
    ),
    "a job fails and goes on failing": Case(
        {'job_last_run_failed{batch_job="collect",instance="j"}': f"1+0{LONG}"}, {"JobFails": 1}
    ),
    "a job failed once": Case(
        {'job_last_run_failed{batch_job="collect",instance="j"}': "0+0x80 1+0x40 0+0x80"}
    ),
    "outcomes were not judged for two days": Case(
        {JUDGED: f"{48 * HOUR}+0{LONG}"},
        {"CheckOverdue": 1},
    ),
    "drift was looked for three days ago": Case(
        {'job_last_success_age_seconds{batch_job="drift",instance="j"}': f"{72 * HOUR}+0{LONG}"}
    ),
    "truths are missing": Case(
        {'forecast_outcomes{world="real",status="never"}': f"600+0{LONG}"}, {"LabelCoverageLow": 1}
    ),
    "there is no truth at all": Case(
        {
            'forecast_outcomes{world="synthetic",status="never"}': f"900+0{LONG}",
            'forecast_outcomes{world="synthetic",status="waiting"}': f"50+0{LONG}",
        },
        {"LabelCoverageLow": 1},
    ),
    "few truths are due, and those are missing": Case(
        {
            'forecast_outcomes{world="real",status="never"}': f"100+0{LONG}",
            'forecast_outcomes{world="real",status="scored"}': f"10+0{LONG}",
        },
    ),
    "the model is worse than none": Case(
        {f"forecast_error_log10{{{SCORE}}}": f"0.31+0{LONG}"}, {"ForecastsWorseThanPersistence": 1}
    ),
    "few forecasts were bad": Case(
        {
            f"forecast_error_log10{{{SCORE}}}": f"0.31+0{LONG}",
            f"forecast_scored_videos{{{SCORE}}}": f"50+0{LONG}",
        },
    ),
    "intervals are too narrow": Case(
        {f"forecast_interval_coverage_ratio{{{SCORE}}}": f"0.5+0{LONG}"}, {"IntervalCoverageLow": 1}
    ),
    "a feature that matters drifts": Case(
        {
            'drift_state{world="real",kind="feature",name="is_music",status="stable"}': None,
            DRIFTED % ("feature", "is_music", "drifted"): f"1+0{LONG}",
        },
        {"FeatureDrift": 1},
    ),
    "a feature that moves no forecast drifts": Case(
        {
            DRIFTED % ("feature", "title_emoji", "drifted"): f"1+0{LONG}",
            'drift_effect_log10{world="real",kind="feature",name="title_emoji"}': f"0.001+0{LONG}",
        },
    ),
    "truths drift": Case(
        {DRIFTED % ("label", "views_7d", "drifted"): f"1+0{LONG}"}, {"ForecastDrift": 1}
    ),
    "views are counted anew": Case(
        {DRIFTED % ("feature", "view_count", "view_definition_changed"): f"1+0{LONG}"},
        {"ViewDefinitionChanged": 1},
    ),
    "a value differs between serving and training": Case(
        {'skew_values{world="real",result="extra"}': f"1+0{LONG}"}, {"FeatureSkew": 1}
    ),
}


def test_each_alert_fires_on_what_it_is_for_and_no_other(tmp_path: Path) -> None:
    scenarios = []
    for name, case in CASES.items():
        series = {s: v for s, v in (HEALTHY | case.changes).items() if v is not None}
        scenarios.append(scenario(name, series, case.expected, case.at))
    complaints = run(tmp_path, scenarios, interval="5m")
    assert not complaints, complaints


def test_failures_that_spend_the_budget_are_counted_from_zero() -> None:
    """A series that begins with its first failures has no rise, and the budget no loss."""
    rules = Path("observability/prometheus/rules/serving.yml").read_text()
    (failures,) = set(re.findall(r'outcome=~"([a-z_|]+)"', rules))
    told = ServingMetrics().registry.get_sample_value
    for outcome in ("answered", "degraded", *failures.split("|")):
        assert told("forecasts_total", {"outcome": outcome}) == 0


def alerts() -> list[dict[str, object]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_is_shown_firing() -> None:
    fired = {alert for case in CASES.values() for alert in case.expected} | {"Watchdog"}
    assert fired == {str(alert["alert"]) for alert in alerts()}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_every_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, dict[str, str]]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket", "none")
    assert alert["annotations"]["summary"]
    runbook = Path(alert["annotations"]["runbook"])
    text = runbook.read_text() if runbook.exists() else ""
    for heading in ("## What it means", "## How to see", "## What to do"):
        assert heading in text, f"{runbook} says nothing under {heading}"


def test_alertmanager_takes_its_settings_with_and_without_an_address(tmp_path: Path) -> None:
    amtool = require("amtool")
    for address in (None, "http://127.0.0.1:9"):
        file = tmp_path / "alertmanager.yml"
        file.write_text(alertmanager_settings(address))
        done = subprocess.run([amtool, "check-config", str(file)], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
