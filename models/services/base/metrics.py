"""The metrics of a service process. The times of a request carry KServe's names, so that its dashboards fit.

References
----------
KServe, metrics: https://kserve.github.io/website/docs/model-serving/predictive-inference/observability/prometheus-metrics
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServiceMetrics:
    """All metrics of one process, in a registry of their own.

    Labels come from small closed sets: names of models that are served, verbs, codes of errors.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(name, text, ["model_name"], buckets=buckets, registry=self.registry)

        self.preprocess_seconds = histogram("request_preprocess_seconds", "Checks, fetching and decoding of a request.")
        self.predict_seconds = histogram("request_predict_seconds", "From the queue to the predictions of a request.")
        self.postprocess_seconds = histogram(
            "request_postprocess_seconds", "Checking and shaping of a request's answers."
        )
        self.explain_seconds = histogram("request_explain_seconds", "Explanation of a request's instances.")
        self.queue_wait_seconds = histogram(
            "weir_service_queue_wait_seconds", "Wait of the oldest instance of a batch before the batch began."
        )
        self.batch_size = histogram("weir_service_batch_size", "Instances of a batch.", tuple(float(n) for n in SIZES))
        self.requests = Counter(
            "weir_service_requests_total",
            "Requests to a model by verb and outcome (ok, or the code of the error).",
            ["model_name", "verb", "outcome"],
            registry=self.registry,
        )
        self.answers_reused = Counter(
            "weir_service_answers_reused_total",
            "Requests answered with what was computed for an earlier request of the same id.",
            ["model_name"],
            registry=self.registry,
        )
        self.queue_size = Gauge(
            "weir_service_queue_size", "Instances that wait for a batch.", ["model_name"], registry=self.registry
        )
        self.ready = Gauge(
            "weir_service_ready", "1 once the model is loaded and warmed up.", ["model_name"], registry=self.registry
        )
        self.connections = Gauge("weir_service_connections", "Open connections.", registry=self.registry)
        self.connections_dropped = Counter(
            "weir_service_connections_dropped_total",
            "Connections closed for being too slow or too many.",
            ["reason"],
            registry=self.registry,
        )

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
