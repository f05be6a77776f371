"""Metrics of the server, for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from convline.serving.current import Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


disable_created_metrics()  # the time of each first count: for OpenMetrics alone


class Metrics:
    """What one server counts. Labels have few values: never a path that a client made up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "convline_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "convline_request_seconds",
            "Time from the headers of a request to the end of its answer.",
            ("route",),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.predictions = Counter(
            "convline_predictions", "Images answered.", ("class",), registry=self.registry
        )
        self.loaded = Counter(
            "convline_models_loaded", "Models that were put to use.", registry=self.registry
        )
        self.refused = Counter(
            "convline_models_refused",
            "Models that were refused, so that the one before stayed in use.",
            registry=self.registry,
        )
        self.closed = Counter(
            "convline_connections_closed",
            "Connections closed because of their client.",
            ("reason",),
            registry=self.registry,
        )
        self.model = Gauge(
            "convline_model",
            "1 for the model in use.",
            ("md5", "onnx_md5", "revision"),
            registry=self.registry,
        )

    def uses(self, model: Served) -> None:
        """Note that `model` is in use from now on."""
        self.loaded.inc()
        self.model.clear()
        self.model.labels(**{key: value or "" for key, value in model.named.items()}).set(1)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)
