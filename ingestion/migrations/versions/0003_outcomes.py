"""What became of forecasts, of batch jobs, and of the checks for drift and skew."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATUSES = "'scored', 'waiting', 'never', 'deleted', 'hidden', 'view_definition_changed'"

TABLES = {
    # A row per answered number of a published forecast whose horizon has closed.
    "forecast_outcomes": f"""
        forecast_id uuid NOT NULL,
        metric text NOT NULL,
        horizon_days integer NOT NULL,
        world text NOT NULL,
        situation text NOT NULL,
        model_version text NOT NULL,
        model_digest text NOT NULL,
        video_id text NOT NULL,
        channel_id text,
        tier text NOT NULL,
        format text NOT NULL,
        as_of timestamptz NOT NULL,
        due_at timestamptz NOT NULL,
        current_count bigint,
        p10 bigint NOT NULL,
        p50 bigint NOT NULL,
        p90 bigint NOT NULL,
        is_degraded boolean NOT NULL,
        status text NOT NULL CHECK (status IN ({STATUSES})),
        observed_count double precision,
        known_at timestamptz,
        is_late boolean,
        error_log10 double precision,
        persistence_error_log10 double precision,
        is_covered boolean,
        width_log10 double precision,
        pinball_log10 double precision,
        absolute_percentage_error double precision,
        scored_at timestamptz NOT NULL,
        PRIMARY KEY (forecast_id, metric, horizon_days),
        CHECK ((status = 'scored') = (observed_count IS NOT NULL))
    """,
    "job_runs": """
        run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        job text NOT NULL,
        world text,
        started_at timestamptz NOT NULL,
        duration_seconds double precision NOT NULL,
        outcome text NOT NULL,
        rows jsonb NOT NULL,
        reason text
    """,
    "drift_results": """
        world text NOT NULL,
        checked_at timestamptz NOT NULL,
        kind text NOT NULL CHECK (kind IN ('feature', 'forecast', 'label')),
        name text NOT NULL,
        model_version text NOT NULL,
        status text NOT NULL,
        reference_rows double precision NOT NULL,
        current_rows integer NOT NULL,
        psi double precision,
        ks double precision,
        wasserstein double precision,
        effect double precision,
        changed_since timestamptz,
        note text,
        PRIMARY KEY (world, checked_at, kind, name)
    """,
    "skew_results": """
        world text NOT NULL,
        checked_at timestamptz NOT NULL,
        feature_view text NOT NULL,
        feature text NOT NULL,
        compared integer NOT NULL,
        mismatched integer NOT NULL,
        missing integer NOT NULL,
        extra integer NOT NULL,
        behind integer NOT NULL,
        PRIMARY KEY (world, checked_at, feature_view, feature)
    """,
}

INDEXES = {
    "forecast_outcomes_by_due": "forecast_outcomes (world, due_at)",
    "forecast_outcomes_open": "forecast_outcomes (due_at) WHERE status <> 'scored'",
    "job_runs_by_job": "job_runs (job, started_at)",
}

# Every combination of roll-ups; a rolled-up dimension is called 'all', or 0 for the horizon.
DIMENSIONS = {"model_version": "'all'", "horizon_days": "0", "tier": "'all'", "format": "'all'"}

SCORES = f"""
    count(*) AS closed,
    {
    ", ".join(
        f"count(*) FILTER (WHERE status = {s}) AS {s.strip(chr(39))}" for s in STATUSES.split(", ")
    )
},
    count(*) FILTER (WHERE is_late) AS late,
    count(*) FILTER (WHERE status = 'scored')::double precision
        / nullif(count(*) FILTER (WHERE status <> 'waiting'), 0) AS label_coverage,
    avg(abs(error_log10)) AS mae_log10,
    sqrt(avg(error_log10 ^ 2)) AS rmse_log10,
    avg(error_log10) AS bias_log10,
    avg(abs(persistence_error_log10)) AS persistence_mae_log10,
    1 - avg(abs(error_log10)) / nullif(avg(abs(persistence_error_log10)), 0) AS skill,
    avg(is_covered::integer)::double precision AS coverage_80,
    avg(width_log10) AS width_80_log10,
    avg(pinball_log10) AS pinball_log10,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY absolute_percentage_error) AS mdape,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY growth_log10)
        FILTER (WHERE status = 'scored') AS median_growth_scored,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY growth_log10)
        FILTER (WHERE status NOT IN ('scored', 'waiting')) AS median_growth_unscored,
    min(due_at) AS first_due_at,
    max(due_at) AS last_due_at
"""


def upgrade() -> None:
    """Create the tables and the scorecard; the outcomes of before were never written."""
    op.execute("DROP TABLE IF EXISTS forecast_outcomes")
    for name, columns in TABLES.items():
        op.execute(f"CREATE TABLE {name} ({columns})")
    for name, target in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {target}")
    named = ", ".join(
        f"CASE WHEN grouping({name}) = 1 THEN {all_} ELSE {name} END AS {name}"
        for name, all_ in DIMENSIONS.items()
    )
    op.execute(f"""
        CREATE MATERIALIZED VIEW scorecard AS
        SELECT world, situation, metric, {named}, {SCORES}
        FROM (
            SELECT *, log((1.0::double precision + p50) / (1.0 + current_count)) AS growth_log10
            FROM forecast_outcomes
        ) AS outcomes
        GROUP BY world, situation, metric, CUBE ({", ".join(DIMENSIONS)})
    """)
    op.execute(
        "CREATE UNIQUE INDEX scorecard_row ON scorecard "
        f"(world, situation, metric, {', '.join(DIMENSIONS)})"
    )


def downgrade() -> None:
    """Drop them; put back the first form of the outcomes, empty."""
    op.execute("DROP MATERIALIZED VIEW scorecard")
    for name in TABLES:
        op.execute(f"DROP TABLE {name}")
    op.execute("""
        CREATE TABLE forecast_outcomes (
            forecast_id uuid NOT NULL,
            metric text NOT NULL,
            horizon_days integer NOT NULL,
            observed_count bigint,
            observed_at timestamptz,
            status text NOT NULL,
            scored_at timestamptz NOT NULL,
            PRIMARY KEY (forecast_id, metric, horizon_days)
        )
    """)
