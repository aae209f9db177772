"""The forecast service as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import NamedTuple

from fastapi import FastAPI

from feature_repo.clock import Clock, InvalidClock, open_clock, system_clock
from serving import pages, problems, routes, server
from serving.api_keys import KeyTable
from serving.breaker import Breaker
from serving.champion import REAL, Champion
from serving.current_vectors import CurrentVectors
from serving.dependencies import State
from serving.draft_model import SITUATION as DRAFT
from serving.draft_model import DraftModel
from serving.drafting import Drafter
from serving.errors import ServingError
from serving.explanations import Explainer
from serving.fallback import RecentFeatures
from serving.forecast_log import ForecastLog
from serving.forecaster import Forecaster
from serving.guard import Guard, KeyRing, RateLimit
from serving.life import Life
from serving.logs import AccessLog
from serving.metrics import ServingMetrics
from serving.middleware import BodyLimit, Envelope, Gate
from serving.model import LoadedModel
from serving.moment import Moment
from serving.online_features import RedisOnlineFeatures
from serving.redis_servers import open_servers
from serving.registry import MlflowRegistry, ModelCache
from serving.settings import ServingSettings
from serving.warehouse import Warehouse

_DESCRIPTION = """Forecasts of views, likes and comments of YouTube videos, with 80 % intervals.

Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents with a stable
`code`."""


def create_app(
    settings: ServingSettings | None = None,
    clock: Clock | None = None,
    life: Life | None = None,
) -> FastAPI:
    """Build the application; `uvicorn --factory serving.app:create_app` runs it.

    Args:
        settings: Where everything is; from the environment if not given.
        clock: The one clock; the one that the settings name if not given.
        life: Says when the server is on its way out.
    """
    settings = settings or ServingSettings()
    life = life or Life()
    access = AccessLog(settings.access_log)
    metrics = ServingMetrics()
    keys = _key_ring(settings)
    guard = Guard(keys, RateLimit(settings.rate_limit))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            if keys is not None:
                await keys.start()
                stack.push_async_callback(keys.stop)
            if settings.api_metrics_port is not None:
                stack.callback(metrics.serve(settings.api_host, settings.api_metrics_port))
            stack.callback(access.flush)
            parts = await stack.enter_async_context(open_forecaster(settings, clock, metrics))
            yield {
                "forecaster": parts.forecaster,
                "drafter": parts.drafter,
                "warehouse": parts.warehouse,
                "explainer": Explainer(),
                "metrics": metrics,
                "moment": parts.moment,
                "guard": guard,
                "life": life,
                "world": settings.world or REAL,
            }

    app = FastAPI(
        title="Foreview",
        version="1",
        summary="How a YouTube video will perform",
        # FastAPI would look for a tracer at every request; /metrics tells what there is to tell.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    routes.install(app, has_metrics=settings.api_metrics_port is None)
    pages.install(app)
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Gate, guard=guard)
    app.add_middleware(Envelope, access=access, life=life)
    return app


def check(settings: ServingSettings) -> None:
    """Look at settings before anything is started; nothing is connected.

    Raises:
        ServingError: One is missing, or no address or clock.
    """
    _ = settings.required_database_url
    _ = settings.required_mlflow_tracking_uri
    open_servers(settings)
    _clock(settings)


class Open(NamedTuple):
    """All that forecasts need, open."""

    forecaster: Forecaster
    drafter: Drafter
    warehouse: Warehouse
    moment: Moment


@asynccontextmanager
async def open_forecaster(
    settings: ServingSettings, clock: Clock | None = None, metrics: ServingMetrics | None = None
) -> AsyncIterator[Open]:
    """Open all that a forecast needs, and close it again: store, registry, log and clock.

    Raises:
        ServingError: A setting is missing, or the clock does not answer.
    """
    metrics = metrics or ServingMetrics()
    moment = Moment(clock or _clock(settings))
    features = RedisOnlineFeatures(
        open_servers(settings),
        settings.redis_timeout_seconds,
        Breaker(metrics.breaker_open.set),
        current=CurrentVectors(settings.recent_features),
        count=metrics.features_read.add,
    )
    log = ForecastLog(
        settings.required_database_url,
        settings.database_schema,
        settings.forecast_log_capacity,
        metrics,
    )
    registry = MlflowRegistry(settings.required_mlflow_tracking_uri)
    cache = ModelCache(settings.state_dir / "models")
    follow = (registry, cache, metrics, settings.world, settings.registry_poll_seconds)
    load = partial(
        LoadedModel, remembered=settings.recent_features, count=metrics.rows_answered.add
    )
    champion = Champion(*follow, load)
    draft_champion = Champion(*follow, DraftModel, DRAFT)
    max_age_seconds = settings.feature_max_age_hours * 3600.0
    async with AsyncExitStack() as stack:
        stack.push_async_callback(registry.close)
        parts = (features, log, champion, draft_champion, moment)
        for part in parts:
            stack.push_async_callback(part.stop)
        await asyncio.gather(*(part.start() for part in parts))
        recent = RecentFeatures(settings.recent_features)
        forecaster = Forecaster(features, champion, log, moment, metrics, max_age_seconds, recent)
        drafter = Drafter(features, draft_champion, log, moment, metrics, max_age_seconds)
        yield Open(
            forecaster,
            drafter,
            Warehouse(settings.required_database_url, settings.database_schema),
            moment,
        )


@contextmanager
def run_in_thread(
    settings: ServingSettings | None = None,
    clock: Clock | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[server.RunningServer]:
    """Serve forecasts from a thread of this process for as long as the context is open.

    Raises:
        ServingError: The service does not start; the log says why.
    """
    with server.run_in_thread(create_app(settings, clock), host, port) as running:
        yield running


def _key_ring(settings: ServingSettings) -> KeyRing | None:
    if not settings.needs_api_keys:
        return None
    table = KeyTable(settings.required_database_url, settings.database_schema)
    return KeyRing(table, system_clock)


def _clock(settings: ServingSettings) -> Clock:
    try:
        return open_clock(settings.clock)
    except InvalidClock as error:
        raise ServingError(str(error)) from error
