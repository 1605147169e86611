"""A federation in Flower's simulation engine: its clients take turns in Ray actors of this machine.

There are as many actors as workers; each has one thread, and compiles the clients' program once.
"""

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metazoo import progress

if TYPE_CHECKING:
    from metazoo.federated.server import Server

THREADS: Final = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""Of every worker: clients play side by side, so none of them may take all cores."""
NO_CARDS: Final = {"CUDA_VISIBLE_DEVICES": "-1"}
"""Nor a graphics card's memory."""
QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Neither Flower nor Ray reports to anybody, unless the user has said that they may; nor does Ray announce how it will
treat graphics cards one day."""
TRIES: Final = 3
"""Of starting Ray, which gives up after half a minute where the machine is busy."""


def require_flower() -> None:
    """Settles what Flower and Ray do, before they are imported. Raises ValueError without the extra ``federated``."""
    if importlib.util.find_spec("flwr") is None or importlib.util.find_spec("ray") is None:
        raise ValueError("metazoo federate needs Flower and its simulation engine: pip install 'metazoo[federated]'.")
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})


def simulation(workers: int, cache: Path) -> "Callable[[Server], bool]":
    """What makes a server's rounds with so many clients at once; False if Ctrl-C ended them.

    Compiled programs are kept in ``cache``: a run that is resumed, and the next of the same clients, compile nothing.

    A first Ctrl-C waits for the round that runs; a second one raises KeyboardInterrupt, and then threads of the engine
    are still waiting for clients.
    """

    def rounds(server: "Server") -> bool:
        import ray
        from flwr.app import Context
        from flwr.serverapp import Grid, ServerApp
        from flwr.simulation import run_simulation

        from metazoo.federated.client_app import app as client_app
        from metazoo.training.callbacks import Interrupt

        outcome: dict[str, Any] = {}
        server_app, interrupt = ServerApp(), Interrupt()

        @server_app.main()
        def main(grid: Grid, context: Context) -> None:
            try:
                outcome["finished"] = server.make_rounds(grid, lambda: interrupt.asked)
            except Exception as error:  # noqa: BLE001  the engine would tell it as a crash of its own
                outcome["error"] = error

        logging.getLogger("flwr").setLevel(logging.CRITICAL)  # the server says itself what fails, once each
        try:
            with interrupt:
                _start_ray(min(workers, server.federation.sampled), cache.resolve())
                resources: Any = {"client_resources": {"num_cpus": 1}}
                run_simulation(server_app, client_app, server.federation.clients, backend_config=resources)
        finally:
            ray.shutdown()
        if "error" in outcome:
            raise outcome["error"]
        return outcome.get("finished", False)

    return rounds


def _start_ray(workers: int, cache: Path) -> None:
    """A cluster of its own, before the engine starts one: so the workers get their number of threads and XLA's cache,
    and find the modules that this process finds."""
    import ray

    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    flags = f"{os.environ.get('TF_XLA_FLAGS', '')} --tf_xla_persistent_cache_directory={cache}".strip()
    settings: Any = {
        "address": "local",
        "num_cpus": workers,
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
        "runtime_env": {"env_vars": {**THREADS, **NO_CARDS, "TF_XLA_FLAGS": flags, "PYTHONPATH": path}},
    }
    for left in reversed(range(TRIES)):
        try:
            ray.init(**settings)
            return
        except Exception as error:
            ray.shutdown()
            if not left:
                raise RuntimeError(f"Ray does not start here: {error}") from error
            progress.say("Ray did not start in time; trying again.")
