"""`foreview evaluate`: the protocol on recorded data, by the normal path, in schemas of its own."""

import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from feature_repo.clock import fixed_clock, system_clock

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

    from training.estimators import Boosters
    from training.judging import Judged

PROTOCOLS = ("snap-v1",)
SHOWN = ("all", "first_snapshot", "known_channel", "new_channel")
RECORDED = click.Path(exists=True, path_type=Path)
WRITTEN = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@click.option("--protocol", type=click.Choice(PROTOCOLS), default=PROTOCOLS[0], show_default=True)
@click.option(
    "--raw", type=RECORDED, required=True, help="Recorded data, as `foreview load` takes it."
)
@click.option("--score-only", type=RECORDED, help="Recorded data to score on; never trained on.")
@click.option("--json", "json_file", type=WRITTEN, help="Write the scores to this file, as JSON.")
@click.option("--html", "html_file", type=WRITTEN, help="Write a report with plots to this file.")
@click.option(
    "--family",
    "families",
    multiple=True,
    type=click.Choice(["linear", "random_forest", "xgboost", "growth_rate"]),
    help="Let another family or design compete, and the mean of all; may be given several times.",
)
@click.option(
    "--leave-out",
    "countries",
    multiple=True,
    help="Never train on videos listed in this country; they are a subset of the scores.",
)
def evaluate(
    protocol: str,
    raw: Path,
    score_only: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    families: tuple[str, ...],
    countries: tuple[str, ...],
) -> None:
    """Train on recorded data and score every model and baseline on what it never saw.

    The last fifth of the time is held back, unless --score-only names other data. Needs PostgreSQL
    only; private servers are started where none is set, and stopped afterwards.
    """
    from foreview import recorded
    from training.card import coverage_by_tier, score_table
    from training.plain import beside_plain
    from training.progress import steps

    for file in (json_file, html_file):
        if file is not None:  # before the work: what cannot be written would lose it
            file.parent.mkdir(parents=True, exist_ok=True)
    left_out = recorded.listed_in(raw, countries) if countries else set()

    with private_database() as (database_url, redis_url), steps(f"evaluating {protocol}") as report:
        bench = Workbench(database_url, redis_url, f"evaluate_{secrets.token_hex(6)}")
        try:
            parts = _scores(bench, raw, score_only, families, left_out, report)
        finally:
            bench.remove()
    rows = [row for judged, _ in parts for row in judged.rows]
    censored = recorded.censored(raw)
    if html_file is not None:
        from training.report import html_report

        html_file.write_text(html_report(f"Protocol {protocol}", parts, censored))
    if json_file is not None:
        json_file.write_text(json.dumps({"rows": rows, "censoring": censored}, indent=1))
    shown = [r for r in rows if r["metric"] == "views" and r["subset"] in SHOWN]
    click.echo("\n".join([*score_table(shown), "", beside_plain(rows), coverage_by_tier(rows)]))


class Workbench:
    """A schema, a Feast registry and a landing of their own, removed afterwards."""

    def __init__(self, database_url: str, redis_url: str, schema: str) -> None:
        from ingestion.warehouse import open_warehouse

        self.database_url = database_url
        self.redis_url = redis_url
        self.schema = schema
        self.engine = open_warehouse(database_url, schema)
        self._store: FeatureStore | None = None

    def load(self, path: Path, landing: Path, loaded_at: datetime, world: str = "real") -> None:
        """Load recorded data and build its features."""
        from ingestion import feature_tables, loading, warehouse
        from ingestion.landing import Landing

        warehouse.migrate(self.database_url, self.schema)
        clock = fixed_clock(loaded_at)
        loading.load([path], self.engine, Landing(str(landing)), world, clock)
        feature_tables.build(self.engine)

    def store(self) -> "FeatureStore":
        """Register the features and open their store."""
        from feature_repo.store import apply, feast_environment, open_feature_store

        store = open_feature_store(
            feast_environment(self.database_url, self.schema, self.redis_url)
        )
        self._store = store
        apply(store)
        return store

    def loaded_at(self, moment: datetime) -> "pd.DataFrame":
        """Name the observations that a load at a moment added."""
        import pandas as pd
        from sqlalchemy import text

        query = text(
            "SELECT video_id, observed_at AS event_timestamp FROM video_snapshots"
            " WHERE loaded_at = :moment"
        )
        with self.engine.connect() as connection:
            return pd.read_sql(query, connection, params={"moment": moment})

    def remove(self) -> None:
        """Drop both schemas and close every connection."""
        from sqlalchemy import text

        with self.engine.begin() as connection:
            for schema in (self.schema, f"{self.schema}_registry"):
                connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        self.engine.dispose()
        if self._store is not None:
            self._store.registry.read_engine.dispose()
            self._store.registry.write_engine.dispose()


def _scores(
    bench: Workbench,
    raw: Path,
    score_only: Path | None,
    families: tuple[str, ...],
    left_out: set[str],
    report: Any,
) -> "list[tuple[Judged, Boosters]]":
    """Judge each situation that has enough labels; raises TooLittleData where none has."""
    from foreview import recorded
    from training import pipeline
    from training.dataset import read_record
    from training.judging import Fitted, competing, judge, merged
    from training.params import read_params
    from training.plain import plain_lightgbm
    from training.questions import SITUATIONS, Questions, protocol_questions, questions
    from training.settings import TrainingSettings

    params, loaded_at = read_params(TrainingSettings().params), system_clock()
    everything = (pipeline.BEGINNING, loaded_at + timedelta(days=1))
    regions, facts = recorded.regions(raw, score_only), recorded.list_facts(raw, score_only)
    with tempfile.TemporaryDirectory() as landing:
        report(f"loading {raw} and building features")
        bench.load(raw, Path(landing), loaded_at)
        store = bench.store()
        record = read_record(store, "real", everything)
        at = pipeline.protocol_borders(record, params, hold_out=score_only is None)

        def trained(situation: str) -> "tuple[Questions, Fitted]":
            report(f"{situation}: joining features to questions, point in time")
            asked = questions(store, situation, record, params)
            learnable = Questions(*(part.without(left_out) for part in asked))
            return asked, pipeline.fit(learnable, at, params, report)

        models = pipeline.each_situation(SITUATIONS, trained, report)
        if score_only is not None:
            report(f"loading {score_only} and building features")
            later = loaded_at + timedelta(seconds=1)
            bench.load(score_only, Path(landing), later)
            record = read_record(store, "real", everything)

        def judged(asked: Questions, model: Fitted) -> "tuple[Judged, Boosters]":
            situation = model.fitted_on.situation
            report(f"{situation}: scoring")
            test, seen = pipeline.held_out(asked, at), asked.protocol
            if score_only is not None:
                about = bench.loaded_at(later)
                test = protocol_questions(store, situation, record, about)
                seen = merged(model.protocol, test)
            others = competing(families, model, test, params)
            if situation == "published":
                others += [plain_lightgbm(model.protocol, test, facts, params.seed)]
            found = judge(model, test, seen, params.seed, regions, others, left_out)
            return found, model.boosters

        return [judged(asked, model) for asked, model in models]


@contextmanager
def private_database() -> Iterator[tuple[str, str]]:
    """Give the addresses of PostgreSQL and Redis: those set, or private ones for the while."""
    import os

    from foreview.local import Servers
    from foreview.settings import LocalSettings

    if "FOREVIEW_DATABASE_URL" in os.environ and "FOREVIEW_REDIS_URL" in os.environ:
        yield os.environ["FOREVIEW_DATABASE_URL"], os.environ["FOREVIEW_REDIS_URL"]
        return
    servers = Servers(LocalSettings().state_dir)
    started = servers.start(linked=True, mlflow=False)
    try:
        given = servers.environment() | os.environ
        yield given["FOREVIEW_DATABASE_URL"], given["FOREVIEW_REDIS_URL"]
    finally:
        servers.stop(started)
