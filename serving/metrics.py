"""TF Serving's Prometheus metrics, under its names and in its text (TF_SERVING §7)."""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import accumulate
from operator import itemgetter
from typing import Final, NamedTuple

from serving.errors import Code, ServingError

LATENCY_BUCKETS: Final = tuple(10 * 1.8**power for power in range(33))
"""Microseconds; TF Serving's own limits, about 20 minutes the last."""
EXAMPLE_BUCKETS: Final = tuple(2.0**power for power in range(15))

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


_OF_A_MODEL: Final = ("model_name", "model")
UNKNOWN: Final = ""
"""Stands for every model that is not served: clients may ask for any name, and each would be a series for ever."""


class Counter:
    """A sum that only grows."""

    kind: Final = "counter"

    def __init__(self) -> None:
        self._value = 0

    def add(self, value: float) -> None:
        self._value += int(value)

    def lines(self, key: "Key") -> str:
        return f"{key.metric}{_labels(key)} {self._value}\n"


class Histogram:
    """Counts by bucket, as Prometheus cumulates them."""

    kind: Final = "histogram"

    def __init__(self, limits: tuple[float, ...]) -> None:
        self._limits, self._counts, self._total = limits, [0] * (len(limits) + 1), 0.0
        self._lines: str | None = None

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._limits, value)] += 1
        self._total += value
        self._lines = None

    def lines(self, key: "Key") -> str:
        """Written again only after a change: of a thousand policies few were asked since the last scrape."""
        if self._lines is None:
            cumulated = list(accumulate(self._counts))
            labels, name = _labels(key), key.metric
            start = f"{name}_bucket{labels[:-1]}"
            ends = zip(_ends(self._limits), cumulated, strict=True)
            buckets = "".join([f"{start}{end}{count}\n" for end, count in ends])
            self._lines = f"{buckets}{name}_sum{labels} {self._total:.6g}\n{name}_count{labels} {cumulated[-1]}\n"
        return self._lines


@cache
def _ends(limits: tuple[float, ...]) -> list[str]:
    """How the lines of a histogram's buckets end, without their counts."""
    return [f',le="{bound}"}} ' for bound in (*(f"{limit:.6g}" for limit in limits), "+Inf")]


class Key(NamedTuple):
    """A series. ``owner``: the model or the path that it is about, its first label."""

    metric: str
    owner: str
    others: tuple[str, ...]


class Metrics:
    """Counters and latencies of one server. Thread-safe.

    Series go with what they are about (``drop``), and none are begun for models that are not served.
    """

    def __init__(self) -> None:
        self.is_served: Callable[[str], bool] = lambda name: True
        self._lock = threading.Lock()
        self._series: dict[Key, Counter | Histogram] = {}
        self._owned: dict[str, set[Key]] = {}

    def count(self, metric: str, owner: str, *others: str, by: float = 1) -> None:
        self._add(metric, owner, others, by, Counter)

    def observe(self, metric: str, value: float, owner: str, *others: str) -> None:
        """``value``: microseconds, or examples."""
        limits = EXAMPLE_BUCKETS if metric == EXAMPLE_COUNTS else LATENCY_BUCKETS
        self._add(metric, owner, others, value, lambda: Histogram(limits))

    def drop(self, owner: str) -> None:
        """End the series of a model, or of a version's path."""
        with self._lock:
            for key in self._owned.pop(owner, ()):
                del self._series[key]

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
        """Prometheus' text format. Takes its time: not for an event loop."""
        with self._lock:
            series = sorted(self._series.items(), key=itemgetter(0))
        parts: list[str] = []
        metric = ""
        for key, one in series:
            if key.metric != metric:
                metric = key.metric
                parts.append(f"# TYPE {metric} {one.kind}\n")
            with self._lock:
                parts.append(one.lines(key))
        return "".join(parts)

    def _add(
        self, metric: str, owner: str, others: tuple[str, ...], value: float,
        new: Callable[[], Counter | Histogram],
    ) -> None:  # fmt: skip
        with self._lock:  # a model that goes now is dropped before or after this, not in between
            if _LABELS[metric][0] in _OF_A_MODEL and not self.is_served(owner):
                owner = UNKNOWN
            key = Key(metric, owner, others)
            one = self._series.get(key)
            if one is None:
                one = self._series[key] = new()
                self._owned.setdefault(owner, set()).add(key)
            one.add(value)


def _labels(key: Key) -> str:
    values = key.owner, *key.others
    pairs = (f'{label}="{_escape(value)}"' for label, value in zip(_LABELS[key.metric], values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
