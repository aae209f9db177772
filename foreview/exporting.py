"""`foreview metrics`: what batch jobs and stores leave behind, for Prometheus."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from feature_repo.clock import Clock
    from observability.settings import ObservabilitySettings

HOST = "127.0.0.1"


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default: FOREVIEW_METRICS_PORT, 9108.")
@click.option("--host", default=HOST, show_default=True, help="The interface to listen on.")
@click.option(
    "--textfile",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write them once, for a node exporter, instead of serving them.",
)
def metrics(port: int | None, host: str, textfile: Path | None) -> None:
    """Serve the metrics of collection, features, outcomes, drift and batch jobs to Prometheus.

    They are read from PostgreSQL and Redis at each scrape, so that what a job did outlives it.
    Runs until Ctrl-C.
    """
    # Before anything imports Feast, which would make the client count in files of its own.
    from prometheus_client import start_http_server, write_to_textfile

    from feature_repo.clock import open_clock
    from observability.settings import ObservabilitySettings

    settings = ObservabilitySettings()
    registry = platform_registry(settings, open_clock(settings.clock))
    if textfile is not None:
        write_to_textfile(str(textfile), registry)
        return
    chosen = settings.metrics_port if port is None else port
    try:
        server, thread = start_http_server(chosen, host, registry)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{chosen} ({error.strerror}): set --port or "
            "FOREVIEW_METRICS_PORT"
        ) from error
    click.echo(f"metrics at http://{host}:{server.server_port}/metrics")
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())
    asked_to_end.wait()
    server.shutdown()
    server.server_close()
    thread.join()


def platform_registry(settings: "ObservabilitySettings", clock: "Clock") -> "CollectorRegistry":
    """Give the metrics of every batch component in a registry of their own.

    A part that cannot be read is left out and named by `metrics_query_failed`.
    """
    from prometheus_client import CollectorRegistry
    from sqlalchemy import event
    from sqlalchemy.exc import SQLAlchemyError

    from ingestion.metrics import IngestionMetrics
    from ingestion.warehouse import open_warehouse
    from observability.errors import ObservabilityError
    from observability.metrics import BOUNDS, PlatformMetrics

    engine = open_warehouse(settings.required_database_url, settings.database_schema)

    @event.listens_for(engine, "connect")
    def bound(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(BOUNDS)
        connection.commit()

    def ingestion(_connection: object, _now: object) -> Iterator["Metric"]:
        try:
            yield from IngestionMetrics(engine, clock).collect()
        except SQLAlchemyError as error:
            raise ObservabilityError("ingestion's tables cannot be read") from error
        finally:
            engine.dispose()  # no connection is held between scrapes

    registry = CollectorRegistry()
    registry.register(
        PlatformMetrics(
            settings.required_database_url,
            settings.database_schema,
            settings.required_redis_url,
            clock,
            {"ingestion": ingestion},
        )
    )
    return registry
