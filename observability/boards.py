"""Grafana's boards as code, by Grafana's own SDK; `python -m observability.boards` writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard, DataSourceRef

DIRECTORY = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="foreview-prometheus")
_HEIGHT, _HALF, _STAT = 8, 12, 6
# Scores by horizon leave tiers and formats together, and the other way round.
_WHOLE = 'tier="all",format="all"'


class Query(NamedTuple):
    """One line, or family of lines, of a panel."""

    expr: str
    legend: str = "{{instance}}"


class Panel(NamedTuple):
    """A graph, or one number where `is_number`; `unit` is Grafana's name of it."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    is_number: bool = False


class Board(NamedTuple):
    """A board: rows of panels under titles. Its uid is part of every link to it."""

    uid: str
    title: str
    rows: dict[str, Sequence[Panel]]


API = Board(
    "foreview-api",
    "Foreview: forecast API",
    {
        "Now": [
            Panel(
                "Instances up",
                "Of those that Prometheus scrapes.",
                "short",
                [Query('sum(up{job="foreview-serving"})')],
                is_number=True,
            ),
            Panel(
                "Forecasts per second",
                "All outcomes.",
                "reqps",
                [Query("sum(rate(forecasts_total[5m]))")],
                is_number=True,
            ),
            Panel(
                "Failing through our fault",
                "Burns the budget of 0.1 %.",
                "percentunit",
                [Query("forecast:errors:ratio_rate5m")],
                is_number=True,
            ),
            Panel(
                "Slower than 20 ms",
                "Burns the budget of 1 %.",
                "percentunit",
                [Query("forecast:slow:ratio_rate5m")],
                is_number=True,
            ),
        ],
        "Requests": [
            Panel(
                "Forecasts by outcome",
                "answered, degraded, or a problem's code.",
                "reqps",
                [Query("sum by (outcome) (rate(forecasts_total[5m]))", "{{outcome}}")],
            ),
            Panel(
                "Latency",
                "Of a request for one forecast or many, in the server.",
                "s",
                [
                    Query(
                        f"histogram_quantile({q}, sum by (le) "
                        "(rate(forecast_duration_seconds_bucket[5m])))",
                        f"p{q * 100:g}",
                    )
                    for q in (0.5, 0.99, 0.999)
                ],
            ),
            Panel(
                "Degraded answers",
                "Old or missing features, an unconfirmed model.",
                "percentunit",
                [
                    Query(
                        'sum(rate(forecasts_total{outcome="degraded"}[5m])) or vector(0)',
                        "degraded",
                    )
                ],
            ),
            Panel(
                "Model served",
                "One line per version: two for long are a problem.",
                "short",
                [Query("count by (version, world) (model_info)", "{{world}} {{version}}")],
            ),
        ],
        "Log and registry": [
            Panel(
                "Forecast log: written and lost",
                "Lost ones have no receipt and no outcome.",
                "reqps",
                [
                    Query("sum(rate(forecast_log_written_total[5m]))", "written"),
                    Query("sum(rate(forecast_log_lost_total[5m]))", "lost"),
                ],
            ),
            Panel(
                "Forecast log: waiting",
                "The queue in front of PostgreSQL.",
                "short",
                [Query("forecast_log_queued")],
            ),
            Panel(
                "Forecast log: lag",
                "How long the oldest of the last batch waited.",
                "s",
                [Query("forecast_log_lag_seconds")],
            ),
            Panel(
                "Registry and refused models",
                "1: the registry answers.",
                "short",
                [
                    Query("model_registry_up", "registry {{instance}}"),
                    Query("increase(model_refused_total[1h])", "refused {{instance}}"),
                ],
            ),
        ],
    },
)

FEATURES = Board(
    "foreview-features",
    "Foreview: features and data",
    {
        "Freshness, by event": [
            Panel(
                "Age of the newest observation",
                "Collection.",
                "s",
                [Query("observation_age_seconds", "{{world}}")],
            ),
            Panel(
                "Feature tables behind observations",
                "Building features.",
                "s",
                [Query("feature_build_lag_seconds", "video_performance")],
            ),
            Panel(
                "Materialization lag",
                "Online rows behind offline ones.",
                "s",
                [Query("materialization_lag_seconds", "{{feature_view}}")],
            ),
            Panel(
                "Age of the newest row online",
                "What serving can know.",
                "s",
                [Query("feature_freshness_seconds", "{{feature_view}}")],
            ),
        ],
        "As asked": [
            Panel(
                "Age of features when asked",
                "Over the last thousand forecasts.",
                "s",
                [Query("asked_feature_age_seconds", "{{feature_view}} p{{quantile}}")],
            ),
            Panel(
                "Stale when asked",
                "Share of the last thousand forecasts.",
                "percentunit",
                [Query("asked_stale_ratio", "stale_features")],
            ),
            Panel(
                "Missing features",
                "Null or absent in the online store.",
                "short",
                [
                    Query(
                        "sum by (feature_view) (rate(online_features_missing_total[5m]))",
                        "{{feature_view}}",
                    )
                ],
            ),
            Panel(
                "Videos read",
                "From Redis, or from memory while Redis says that they have not changed.",
                "ops",
                [Query("sum by (source) (rate(features_read_total[5m]))", "{{source}}")],
            ),
            Panel(
                "Rows answered",
                "By the trees, or from memory of a row that they cannot tell from it.",
                "ops",
                [Query("sum by (source) (rate(model_rows_answered_total[5m]))", "{{source}}")],
            ),
        ],
        "Collection": [
            Panel(
                "Quota used today",
                "Of YouTube's units, by bucket.",
                "percentunit",
                [Query("youtube_quota_units_used / youtube_quota_units_limit", "{{bucket}}")],
            ),
            Panel(
                "Targets overdue",
                "Due to be looked at, and not looked at.",
                "short",
                [Query("ingestion_overdue_targets", "{{world}}")],
            ),
            Panel(
                "Rows",
                "By what became of them.",
                "short",
                [Query("sum by (batch_job, kind) (job_rows_total)", "{{batch_job}} {{kind}}")],
            ),
        ],
        "Jobs": [
            Panel(
                "Since the last success",
                "Of each batch job.",
                "s",
                [Query("job_last_success_age_seconds", "{{batch_job}}")],
            ),
            Panel(
                "Duration",
                "Of the last run.",
                "s",
                [Query("job_last_duration_seconds", "{{batch_job}}")],
            ),
            Panel(
                "Runs",
                "Also promotions and refusals of training.",
                "short",
                [
                    Query(
                        "sum by (batch_job, outcome) (job_runs_total)", "{{batch_job}} {{outcome}}"
                    )
                ],
            ),
            Panel(
                "Failing",
                "1: the last run failed.",
                "short",
                [Query("job_last_run_failed", "{{batch_job}}")],
            ),
        ],
    },
)

_BY_HORIZON = "{{horizon_days}} d, {{model_version}}"
_VIEWS = f'metric="views",{_WHOLE},model_version!="all"'

QUALITY = Board(
    "foreview-quality",
    "Foreview: model quality",
    {
        "Truth, last 28 days": [
            Panel("Label coverage", "Share of closed horizons that met a truth.", "percentunit",
                  [Query("forecast:label_coverage:ratio", "{{world}}")], is_number=True),
            Panel("Error of views, decades", "Mean absolute error of log10(1 + count).", "short",
                  [Query(f'forecast_error_log10{{metric="views",model_version="all",{_WHOLE}}}',
                         "{{world}}")], is_number=True),
            Panel("Less error than persistence", "1 - error / error of saying nothing changes.",
                  "percentunit",
                  [Query(f'1 - forecast_error_log10{{metric="views",model_version="all",{_WHOLE}}} '
                         "/ forecast_persistence_error_log10"
                         f'{{metric="views",model_version="all",{_WHOLE}}}', "{{world}}")],
                  is_number=True),
            Panel("Inside the 80 % interval", "Views.", "percentunit",
                  [Query("forecast_interval_coverage_ratio"
                         f'{{metric="views",model_version="all",{_WHOLE}}}', "{{world}}")],
                  is_number=True),
        ],
        "By horizon and model version": [
            Panel("Error", "Mean absolute error of log10(1 + views).", "short",
                  [Query(f"forecast_error_log10{{{_VIEWS}}}", _BY_HORIZON)]),
            Panel("Coverage of the interval", "0.8 is promised.", "percentunit",
                  [Query(f"forecast_interval_coverage_ratio{{{_VIEWS}}}",
                         _BY_HORIZON)]),
            Panel("Bias", "Positive: forecasts are too low.", "short",
                  [Query(f"forecast_bias_log10{{{_VIEWS}}}", _BY_HORIZON)]),
            Panel("Pinball loss", "Of the three quantiles, decades.", "short",
                  [Query(f"forecast_pinball_loss_log10{{{_VIEWS}}}",
                         _BY_HORIZON)]),
        ],
        "By tier and format": [
            Panel("Coverage by tier", "Tier: the channel's normal views.", "percentunit",
                  [Query('forecast_interval_coverage_ratio{metric="views",tier!="all"}',
                         "{{tier}}")]),
            Panel("Error by tier", "Decades.", "short",
                  [Query('forecast_error_log10{metric="views",tier!="all"}', "{{tier}}")]),
            Panel("Error by format", "Decades.", "short",
                  [Query('forecast_error_log10{metric="views",format!="all"}', "{{format}}")]),
            Panel("What became of forecasts", "scored, waiting, or why there is no truth.", "short",
                  [Query("forecast_outcomes", "{{world}} {{status}}")]),
        ],
        "Drift and skew": [
            Panel("What moves forecasts most", "Effect of a feature's drift, in decades.",
                  "short", [Query("topk(10, drift_effect_log10)", "{{name}}")]),
            Panel("Population stability index", "The ten that moved most.", "short",
                  [Query("topk(10, drift_psi)", "{{kind}} {{name}}")]),
            Panel("State", "How many features, forecasts and truths are in it.", "short",
                  [Query("sum by (kind, status) (drift_state)", "{{kind}} {{status}}")]),
            Panel("Skew", "Values compared between serving and training, and what differed.",
                  "short", [Query("skew_values", "{{world}} {{result}}")]),
        ],
    },
)  # fmt: skip

BOARDS = (API, FEATURES, QUALITY)


def build(board: Board) -> Dashboard:
    """Make Grafana's model of a board."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .tags(["foreview"])
        .editable()
        .refresh("30s")
        .time("now-24h", "now")
        .timezone("utc")
    )
    for title, panels in board.rows.items():
        made = made.with_row(dashboard.Row(title))
        for panel in panels:
            made = made.with_panel(_panel(panel))
    return made.build()


def as_json(board: Board) -> str:
    """Give a board as Grafana reads it."""
    return JSONEncoder(sort_keys=True, indent=2).encode(build(board)) + "\n"


def expressions() -> list[str]:
    """Give every query of every board."""
    return [
        query.expr
        for board in BOARDS
        for panels in board.rows.values()
        for panel in panels
        for query in panel.queries
    ]


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel:
    made: timeseries.Panel | stat.Panel
    made = stat.Panel().span(_STAT) if panel.is_number else timeseries.Panel().span(_HALF)
    made = made.title(panel.title).description(panel.description).unit(panel.unit)
    made = made.height(_HEIGHT // 2 if panel.is_number else _HEIGHT).datasource(SOURCE)
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
        made = made.with_target(target.ref_id(chr(ord("A") + number)))
    return made


def write() -> None:
    """Write every board where provisioning reads it."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        (DIRECTORY / f"{board.uid}.json").write_text(as_json(board))


if __name__ == "__main__":
    write()
