"""TF Serving's Prometheus metrics, under its names and in its text (TF_SERVING §7)."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from serving.errors import Code, ServingError

LATENCY_BUCKETS: Final = tuple(10 * 1.8**power for power in range(33))
"""Microseconds; TF Serving's own limits, about 20 minutes the last."""
EXAMPLE_BUCKETS: Final = tuple(2.0**power for power in range(15))

MAX_SERIES: Final = 10_000
"""Label sets beyond this are dropped: model names come from clients, and memory must not."""

REQUEST_COUNT: Final = ":tensorflow:serving:request_count"
REQUEST_LATENCY: Final = ":tensorflow:serving:request_latency"
RUNTIME_LATENCY: Final = ":tensorflow:serving:runtime_latency"
EXAMPLE_COUNTS: Final = ":tensorflow:serving:request_example_counts"
EXAMPLE_TOTAL: Final = ":tensorflow:serving:request_example_count_total"
WARMUP_LATENCY: Final = ":tensorflow:serving:model_warmup_latency"
WARMUP_RECORDS: Final = ":tensorflow:serving:model_warmup_records_read"
LOAD_COUNT: Final = ":tensorflow:cc:saved_model:load_attempt_count"
LOAD_LATENCY: Final = ":tensorflow:cc:saved_model:load_latency"

_LABELS: Final = {
    REQUEST_COUNT: ("model_name", "status"),
    REQUEST_LATENCY: ("model_name", "API", "entrypoint"),
    RUNTIME_LATENCY: ("model_name", "API", "runtime"),
    EXAMPLE_COUNTS: ("model",),
    EXAMPLE_TOTAL: ("model",),
    WARMUP_LATENCY: ("model_path", "status"),
    WARMUP_RECORDS: ("model_path", "status"),
    LOAD_COUNT: ("model_path", "status"),
    LOAD_LATENCY: ("model_path",),
}


class Histogram:
    """Counts by bucket, as Prometheus cumulates them."""

    def __init__(self, limits: tuple[float, ...]) -> None:
        self.limits, self.counts, self.total = limits, [0] * (len(limits) + 1), 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value


class Metrics:
    """Counters and latencies of one server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, ...], int] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        with self._lock:
            key = (name, *labels)
            if key in self._counters or len(self._counters) < MAX_SERIES:
                self._counters[key] = self._counters.get(key, 0) + by

    def observe(self, name: str, value: float, *labels: str) -> None:
        """``value``: microseconds, or examples."""
        with self._lock:
            key = (name, *labels)
            histogram = self._histograms.get(key)
            if histogram is None:
                if len(self._histograms) >= MAX_SERIES:
                    return
                limits = EXAMPLE_BUCKETS if name == EXAMPLE_COUNTS else LATENCY_BUCKETS
                histogram = self._histograms[key] = Histogram(limits)
            histogram.add(value)

    @contextmanager
    def request(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count one request and, if it is answered, its latency."""
        started = time.perf_counter()
        try:
            yield
        except ServingError as error:
            self.count(REQUEST_COUNT, model, error.code.name)
            raise
        self.count(REQUEST_COUNT, model, Code.OK.name)
        self.observe(REQUEST_LATENCY, (time.perf_counter() - started) * 1e6, model, api, entrypoint)

    def text(self) -> str:
        """Prometheus' text format."""
        with self._lock:
            counters = sorted(self._counters.items())
            histograms = sorted((key, one.limits, list(one.counts), one.total) for key, one in self._histograms.items())
        lines: list[str] = []
        for key, value in counters:
            _header(lines, key[0], "counter")
            lines.append(f"{key[0]}{_labels(key)} {value}")
        for key, limits, counts, total in histograms:
            _header(lines, key[0], "histogram")
            cumulated = 0
            for limit, count in zip((*limits, None), counts, strict=True):
                cumulated += count
                bound = "+Inf" if limit is None else f"{limit:.6g}"
                lines.append(f"{key[0]}_bucket{_labels(key, bound)} {cumulated}")
            lines.append(f"{key[0]}_sum{_labels(key)} {total:.6g}")
            lines.append(f"{key[0]}_count{_labels(key)} {cumulated}")
        return "\n".join(lines) + "\n"


def _header(lines: list[str], name: str, kind: str) -> None:
    header = f"# TYPE {name} {kind}"
    if header not in lines:
        lines.append(header)


def _labels(key: tuple[str, ...], bound: str | None = None) -> str:
    pairs = [f'{label}="{_escape(value)}"' for label, value in zip(_LABELS[key[0]], key[1:], strict=True)]
    if bound is not None:
        pairs.append(f'le="{bound}"')
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
