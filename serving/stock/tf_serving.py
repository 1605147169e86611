"""Stock TF Serving as the engine: its config files written, the binary run and supervised, told of new policies."""

import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from serving import ports
from serving.client.grpc import GrpcTransport
from serving.errors import Code, ServingError
from serving.logs import event
from serving.models import model_config
from serving.models.config_files import ConfigFile, batching_config, monitoring_config, ssl_config
from serving.models.sources import ModelConfig, VersionCache, scan
from serving.options import Options
from serving.stock.announcing import Announcer, is_available
from serving.stock.supervisor import Supervisor

log = logging.getLogger(__name__)

BINARY: Final = "tensorflow_model_server"
METRICS_PATH: Final = "/monitoring/prometheus/metrics"
READY_SECONDS: Final = 300.0
WATCH_SECONDS: Final = 1.0
RELOAD_TIMEOUT_SECONDS: Final = 30.0
LOADING: Final = {"max_num_load_retries": 0, "load_retry_interval_micros": 0}
"""A version that is deleted while it loads fails at once. With TF Serving's own 5 retries, 60 s apart and in the one
thread that loads, nothing of any model would load for five minutes."""


class TfServing:
    """Serves every ``models_dir/<name>`` and ``adapted_dir/<name>`` with the binary ``tensorflow_model_server``.

    New versions it finds by itself; new policies are announced by HandleReloadConfigRequest within a second. It
    listens on every interface and lets everybody reload it: keep it behind a firewall.
    """

    def __init__(
        self,
        models_dir: str | os.PathLike[str],
        adapted_dir: str | os.PathLike[str],
        rest_port: int = 8501,
        grpc_port: int = 8500,
        batching_file: str | os.PathLike[str] | None = None,
        options: Options | None = None,
        batching: bool = False,
        model_config_file: str | os.PathLike[str] | None = None,
    ):
        """Args:
        models_dir, adapted_dir: directories of base paths; the second is created if missing.
        rest_port, grpc_port: 0 takes a free one.
        batching_file: TF Serving's batching parameters; ours by default. Given, it switches ``batching`` on.
        options: ``metrics_path``, ``model_config_poll_seconds`` and the TLS files count (for gRPC alone: TF Serving's
            REST has no TLS).
        batching: put concurrent requests together. They must be of equal shapes, or they fail each other: only where
            all clients send rows of one shape to ``act`` and ``step``, and nobody adapts.
        model_config_file: a list of further models, as ``Server`` takes it.

        Raises:
            FileNotFoundError: no binary on the PATH, or no models directory. ServingError: the list is refused.
        """
        binary = shutil.which(BINARY)
        if binary is None:
            raise FileNotFoundError(
                f"{BINARY} is not on the PATH: install TensorFlow Serving, use serving/deploy/compose.yaml, or serve "
                "with --engine embedded"
            )
        if not Path(models_dir).is_dir():
            raise FileNotFoundError(f"there is no models directory {models_dir}")
        self._binary, self._options = binary, options or Options()
        self._models_dir, self._adapted_dir = Path(models_dir).resolve(), Path(adapted_dir).resolve()
        self.rest_port, self.grpc_port, self._batching_file = rest_port, grpc_port, batching_file
        self._batching = batching or batching_file is not None
        self._listed = model_config.PolledFile(model_config_file, self._options.model_config_poll_seconds)
        self._versions, self._stopped = VersionCache(), threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The REST API's address."""
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def grpc_target(self) -> str:
        """The gRPC API's address."""
        return f"127.0.0.1:{self.grpc_port}"

    def start(self) -> "TfServing":
        """Returns when every model is available.

        Raises:
            PortInUseError: a port is taken. ServingError: it ended, or a model did not become available.
        """
        taken = [ports.bind("0.0.0.0", self.rest_port, "REST"), ports.bind("0.0.0.0", self.grpc_port, "gRPC")]
        self.rest_port, self.grpc_port = (one.getsockname()[1] for one in taken)
        for one in taken:  # free, and different from each other
            one.close()
        self._adapted_dir.mkdir(parents=True, exist_ok=True)
        self._directory = Path(tempfile.mkdtemp(prefix="tf-serving-"))
        self._config = ConfigFile(self._directory / "models.config")
        self._config.update(self._models())
        ca = None if self._options.tls_cert is None else str(self._options.tls_cert)
        target = self.grpc_target if ca is None else f"localhost:{self.grpc_port}"
        self._grpc = GrpcTransport(target, RELOAD_TIMEOUT_SECONDS, 1, ca=ca, secure=ca is not None)
        self._announcer = Announcer(self._config, self._models, self._grpc, self._restart)
        self._supervisor = Supervisor(self._command(), prepare=self._announcer.write)
        try:
            self._supervisor.start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._watch, name="tf-serving-models", daemon=True).start()
        return self

    def stop(self) -> None:
        """End the binary. Safe to call twice."""
        with self._lock:
            if self._stopped.is_set():
                return
            self._stopped.set()
        self._supervisor.stop()
        self._grpc.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def wait(self) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP (from the main thread) or until another thread calls ``stop``."""
        if threading.current_thread() is threading.main_thread():
            ports.stop_on_signals(self.stop)
        self._stopped.wait()
        self._supervisor.stop()

    def refresh(self) -> bool:
        """Announce the models, if the list changed. Whether it did."""
        return self._announcer.refresh()

    def __enter__(self) -> "TfServing":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _models(self) -> Mapping[str, ModelConfig]:
        return {**scan(self._models_dir, self._adapted_dir, versions=self._versions), **self._listed()}

    def _restart(self) -> None:
        self._supervisor.restart()

    def _command(self) -> list[str]:
        """The command line, with its config files written."""

        def written(name: str, text: str) -> Path:
            path = self._directory / name
            path.touch(mode=0o600)  # a key may be in it
            path.write_text(text, encoding="utf-8")
            return path

        flags: dict[str, object] = {
            "port": self.grpc_port,
            "rest_api_port": self.rest_port,
            "model_config_file": self._config.path,
            "monitoring_config_file": written(
                "monitoring.config", monitoring_config(self._options.metrics_path or METRICS_PATH)
            ),
            **LOADING,
        }
        if self._batching:
            ours = written("batching.config", batching_config(threads=os.cpu_count() or 1))
            flags |= {"enable_batching": "true", "batching_parameters_file": self._batching_file or ours}
            event(log, logging.WARNING, "batching is on: requests of different shapes, for adapt too, fail each other")
        if self._options.tls_cert is not None and self._options.tls_key is not None:
            certificate, key = (Path(file).read_text() for file in (self._options.tls_cert, self._options.tls_key))
            flags["ssl_config_file"] = written("ssl.config", ssl_config(certificate, key))
        return [self._binary, *(f"--{name}={value}" for name, value in flags.items())]

    def _wait_until_ready(self) -> None:
        until, waiting = time.monotonic() + READY_SECONDS, sorted(self._config.loadable(self._models()))
        while waiting or not _listens(self.grpc_port):
            if self._supervisor.restarts or time.monotonic() > until or self._stopped.is_set():
                what = f"its models {', '.join(waiting)}" if waiting else "its port"
                text = f"{BINARY} ended, or took longer than {READY_SECONDS:.0f} s, before {what} were available"
                raise ServingError(Code.UNAVAILABLE, f"{text}: see its messages above")
            waiting = [name for name in waiting if not is_available(self._grpc, name)]
            time.sleep(0.05)

    def _watch(self) -> None:
        heard = time.monotonic()
        while not self._stopped.wait(WATCH_SECONDS):
            if _listens(self.grpc_port):
                heard = time.monotonic()
            elif time.monotonic() - heard > READY_SECONDS:
                event(log, logging.ERROR, "the server does not come up: it is started again", seconds=READY_SECONDS)
                self._restart()
                heard = time.monotonic()
            try:
                self.refresh()
                self._announcer.discard_unloaded(self._adapted_dir)
            except OSError as error:  # a directory that is gone for a moment
                event(log, logging.ERROR, "cannot list the models, nothing changes", error=error)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
