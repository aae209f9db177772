"""Every metric that the forecast service exposes."""

from collections import Counter as TallyOf
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

# Outcomes that there are from the start: a rate sees no rise in a series that begins with it.
_OUTCOMES = (
    "answered", "degraded", "model_unavailable", "features_unavailable", "internal_error",
)  # fmt: skip
_DURATION_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class ModelInfo(Collector):
    """Tells the model being served: one series with its labels, or none."""

    def __init__(self) -> None:
        self.labels: tuple[str, str] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give `model_info{version, world} 1`."""
        family = GaugeMetricFamily(
            "model_info", "1 for the model being served", labels=["version", "world"]
        )
        if self.labels is not None:
            family.add_metric(self.labels, 1)
        yield family


class Tallies(Collector):
    """A counter with one label, counted in a dict: a scrape turns it into samples."""

    def __init__(
        self, name: str, documentation: str, label: str, from_zero: Iterable[str] = ()
    ) -> None:
        self._family = (name, documentation)
        self._label = label
        self._counts: TallyOf[str] = TallyOf(dict.fromkeys(from_zero, 0))
        self._lock = Lock()

    def add(self, value: str, count: int) -> None:
        """Count so many of a label's value, from any thread."""
        with self._lock:
            self._counts[value] += count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give one sample per value of the label."""
        family = CounterMetricFamily(*self._family, labels=[self._label])
        for value, count in self._counts.copy().items():
            family.add_metric([value], count)
        yield family


class ServingMetrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.forecasts = Tallies(
            "forecasts",
            "Forecasts asked for, by outcome: answered, degraded or a problem's code",
            "outcome",
            _OUTCOMES,
        )
        self.breaker_open = Gauge(
            "online_store_circuit_open",
            "1 while the online store is given up on and forecasts fall back",
            registry=self.registry,
        )
        self.duration = Histogram(
            "forecast_duration_seconds",
            "Time to answer a request for one forecast or many, without the network",
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self.missing = Tallies(
            "online_features_missing",
            "Features that a model wanted and the online store had as null or not at all",
            "feature_view",
        )
        self.features_read = Tallies(
            "features_read",
            "Videos whose features were read: from Redis, or from memory that Redis vouches for",
            "source",
        )
        self.rows_answered = Tallies(
            "model_rows_answered",
            "Rows given to a model's trees: walked for, or known from one they cannot tell apart",
            "source",
        )
        self.model_info = ModelInfo()
        tallies = (self.forecasts, self.missing, self.features_read, self.rows_answered)
        for collector in (*tallies, self.model_info):
            self.registry.register(collector)
        self.model_refused = Counter(
            "model_refused_total",
            "Champions that were not served: corrupt, or not as their contract says",
            registry=self.registry,
        )
        self.registry_up = Gauge(
            "model_registry_up",
            "1 if the registry answered when last asked",
            registry=self.registry,
        )
        self.log_lost = Counter(
            "forecast_log_lost_total", "Forecasts answered but never logged", registry=self.registry
        )
        self.log_written = Counter(
            "forecast_log_written_total", "Forecasts logged", registry=self.registry
        )
        self.log_queued = Gauge(
            "forecast_log_queued", "Forecasts waiting to be logged", registry=self.registry
        )
        self.log_lag = Gauge(
            "forecast_log_lag_seconds",
            "How long the oldest forecast that waits to be logged has waited; 0 when none waits",
            registry=self.registry,
        )

    def count_forecasts(self, outcomes: Iterable[str]) -> None:
        """Count forecasts by outcome."""
        for outcome in outcomes:
            self.forecasts.add(outcome, 1)

    def count_missing(self, views: Sequence[str], counts: Sequence[int]) -> None:
        """Count values that were null, by the view of each."""
        for view, count in zip(views, counts, strict=True):
            if count:
                self.missing.add(view, count)

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Expose all metrics on a port of their own; give what stops it."""
        server, thread = start_http_server(port, host, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop

    def text(self) -> bytes:
        """Give all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
