"""How calls are put together: our own limits, or those of TF Serving's batching parameters file (TF_SERVING §6)."""

import os
from pathlib import Path
from typing import NamedTuple

from serving.errors import invalid
from serving.wire import config_protos


class Limits(NamedTuple):
    """Sizes of batches and queue, in rows.

    ``threads``: batches that run at once. ``wait_seconds``: how long a batch waits to be filled. ``allowed_rows``:
    batches are padded up to one of these. ``strict``: TF Serving's batching is on, and what it refuses is refused.
    ``large``: calls with more rows than a batch has are taken all the same. By default as many rows queue as the 4,096
    requests that may be under way have if each has 256: real TF Serving, without batching, refuses none of them.
    """

    max_rows: int = 1000
    max_queued_rows: int = 2**20
    threads: int = os.cpu_count() or 1
    wait_seconds: float = 0.0
    allowed_rows: tuple[int, ...] = ()
    strict: bool = False
    large: bool = False


def read_file(path: str | os.PathLike[str] | None) -> Limits:
    """The limits of a ``--batching-parameters-file``; without one TF Serving's defaults for ``--enable-batching``.

    Raises:
        FileNotFoundError, ServingError: no such file; not BatchingParameters, or impossible ones.
    """
    parameters = config_protos.BatchingParameters()
    if path is not None:
        config_protos.parse(Path(path).read_text(encoding="utf-8"), parameters, os.fspath(path))
    if parameters.pad_variable_length_inputs:
        raise invalid(
            f"pad_variable_length_inputs is set in {path}: padding repeats the first element, which would make a "
            "policy's mask wrong; leave it out and pad with mask = 0"
        )
    defaults = Limits()

    def value(name: str, default: int, least: int) -> int:
        number = int(getattr(parameters, name).value) if parameters.HasField(name) else default
        if number < least:
            raise invalid(f"{name} is {number} in {path}: it must be at least {least}")
        return number

    rows = value("max_batch_size", defaults.max_rows, 1)
    allowed = tuple(parameters.allowed_batch_sizes)
    if allowed and (list(allowed) != sorted(set(allowed)) or allowed[0] < 1 or allowed[-1] != rows):
        raise invalid(
            f"allowed_batch_sizes are {list(allowed)} in {path}: they must increase, and the last must be "
            f"max_batch_size, {rows}"
        )
    return Limits(
        max_rows=rows,
        max_queued_rows=rows * value("max_enqueued_batches", 10, 1),
        threads=value("num_batch_threads", defaults.threads, 1),
        wait_seconds=value("batch_timeout_micros", 0, 0) / 1e6,
        allowed_rows=allowed,
        strict=True,
        large=parameters.enable_large_batch_splitting.value,
    )
