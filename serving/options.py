"""What a server can be told beyond directories and ports."""

from dataclasses import dataclass, field

from serving.batch_parameters import Limits


@dataclass(frozen=True)
class Options:
    """Settings of ``Server``, all optional.

    ``metrics_path``: where the REST port answers with Prometheus metrics; None: nowhere, as TF Serving.
    ``batching``: how concurrent calls are put together; ``batch_parameters.read_file`` reads TF Serving's file.
    """

    metrics_path: str | None = None
    batching: Limits = field(default_factory=Limits)
