"""A worker's process. Importing this imports no TensorFlow: how many threads it has is decided before that."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any, final

import cloudpickle
import ray

from metazoo import progress

THREADS = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"


def enter(threads: int, directory: str) -> None:
    """In a process of Ray's, before TensorFlow is loaded: how many threads it has, and where it works."""
    for name in THREADS:
        os.environ[name] = str(threads)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with contextlib.suppress(OSError):  # where nodes share it, a family's file is found as the driver finds it
        os.chdir(directory)


def share_programs() -> None:
    """Keeps compiled programs in Ray's directory on this node: a worker that takes another's place need not compile.

    Without what the logs say of it: XLA calls its own tuning flags features that the processor lacks.
    """
    node = getattr(ray._private.worker.global_worker, "node", None)  # where else would Ray say it
    if node is None:
        return
    place = os.path.join(node.get_session_dir_path(), "metazoo-xla")
    os.makedirs(place, exist_ok=True)
    flags = os.environ.get("TF_XLA_FLAGS", "")
    os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={place}".strip()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def do(threads: int, directory: str, work: bytes) -> Any:
    """A task: what the pickled function gives. Its progress goes to standard error, which the driver shows."""
    enter(threads, directory)
    function = cloudpickle.loads(work)
    with progress.shown():
        return function()


@final
class _Worker:
    """A ``metazoo.distributed.replica.Replica`` in a process of its own."""

    def begin(self, recipe: bytes, threads: int, directory: str) -> str:
        """Loads TensorFlow and builds the learner; the node it is on.

        Not in the constructor: what fails there would count as a death, and the worker would be begun again.
        """
        enter(threads, directory)
        share_programs()
        from metazoo.distributed.replica import Replica

        self._replica = Replica(cloudpickle.loads(recipe))
        return ray.get_runtime_context().get_node_id()

    def ask(self, method: str, together: Sequence[int], *arguments: Any) -> Any:
        """What the replica answers; ``together`` are the shares that it is asked for at once."""
        self._replica.together = together
        return getattr(self._replica, method)(*arguments)


Worker: Any = ray.remote(_Worker)
