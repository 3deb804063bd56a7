"""What `/metrics` shows: counters and distributions of a server, in the format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from ..scheduling.scheduler import Scheduler
    from .places import Places

_FIRST_AUDIO_SECONDS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 40)
_FACTORS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5)
_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


class Metrics:
    """See the module. Every server has a registry of its own.

    requests: by route and status. first_audio_seconds: from the request, with its time in the queue, to its first
    samples. real_time_factor: seconds that the reader of a finished speech waited for samples, by its length.
    late_seconds: how long listeners, who began at the first samples, had to wait for later ones. audio_seconds: of all
    speech.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "qwen3tts_requests_total", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.first_audio_seconds = Histogram(
            "qwen3tts_first_audio_seconds",
            "Seconds from a request to its first samples",
            buckets=_FIRST_AUDIO_SECONDS,
            registry=self.registry,
        )
        self.real_time_factor = Histogram(
            "qwen3tts_real_time_factor",
            "Seconds that the reader of a speech waited for samples, by the seconds of the speech",
            buckets=_FACTORS,
            registry=self.registry,
        )
        self.late_seconds = Counter(
            "qwen3tts_late_seconds_total",
            "Seconds that listeners waited after their first samples",
            registry=self.registry,
        )
        self.audio_seconds = Counter("qwen3tts_audio_seconds_total", "Seconds of speech", registry=self.registry)
        ProcessCollector(registry=self.registry)

    def watch(self, places: Places, scheduler: Scheduler, connections: Callable[[], int]) -> None:
        """Also show who speaks and waits, the sessions of each step, and the open connections."""
        self.registry.register(_ServerCollector(places, scheduler, connections))

    def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        return generate_latest(self.registry)


class _ServerCollector:
    """Reads what the server counts anyway, when the metrics are read."""

    def __init__(self, places: Places, scheduler: Scheduler, connections: Callable[[], int]) -> None:
        self._places, self._scheduler, self._connections = places, scheduler, connections

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        places, (counts, seconds) = self._places, self._scheduler.steps
        yield GaugeMetricFamily("qwen3tts_speaking", "Requests that speak", places.taken)
        yield GaugeMetricFamily("qwen3tts_queue", "Requests that wait for a place", places.waiting)
        yield GaugeMetricFamily("qwen3tts_connections", "Open connections", self._connections())
        yield CounterMetricFamily("qwen3tts_engine_seconds_total", "Seconds that the engine has computed", seconds)
        buckets = [(str(most), float(sum(counts[: most + 1]))) for most in _BATCHES]
        total = float(sum(counts))
        sessions = float(sum(size * count for size, count in enumerate(counts)))
        yield HistogramMetricFamily(
            "qwen3tts_batch_size", "Sessions in a step of the engine", [*buckets, ("+Inf", total)], sessions
        )
