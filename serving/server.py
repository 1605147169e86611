"""The embedded server: one process that serves directories of models over TF Serving's REST and gRPC APIs."""

import asyncio
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Final

import uvicorn

from serving.engine import without_onednn  # isort: skip  # before anything that imports TensorFlow
from serving import ports, security
from serving.adapting.adapter import Adapter
from serving.engine.budget import Budget
from serving.engine.servable import Loader
from serving.errors import ServingError
from serving.handlers import DataPlane
from serving.logs import event
from serving.metrics import Metrics
from serving.models import model_config
from serving.models.config_files import ConfigFile
from serving.models.manager import Manager
from serving.models.model_config import ConfiguredModels
from serving.models.sources import VersionCache, find, scan
from serving.options import Options
from serving.overload import BoundedExecutor
from serving.rest import slow_clients
from serving.rest.app import RestApp
from serving.rpc.server import GrpcServer

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 5.0
BACKLOG: Final = 1024
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than clients keep idle connections, so that it is they who close them."""
WORKERS: Final = 8


class Server:
    """Serves every ``models_dir/<name>`` and ``adapted_dir/<name>`` that holds version directories.

    ``with Server(models_dir) as server: ...``, or ``start()`` and ``stop()``. After ``start`` all models are loaded,
    both ports listen, and ``rest_port`` and ``grpc_port`` are known.
    """

    def __init__(
        self,
        models_dir: str | os.PathLike[str] | None = None,
        adapted_dir: str | os.PathLike[str] | None = None,
        host: str = "127.0.0.1",
        rest_port: int = 0,
        grpc_port: int = 0,
        poll_seconds: float = 1.0,
        model_config_file: str | os.PathLike[str] | None = None,
        options: Options | None = None,
    ):
        """Args:
        models_dir: pretrained policies, or any SavedModels.
        adapted_dir: where adapted policies are published; created if missing. None: this server adapts nothing.
        rest_port, grpc_port: 0 takes a free one.
        poll_seconds: how often the directories are looked at; 0 only at the start.
        model_config_file: TF Serving's list of models, as a text proto; its models are served besides.
        options: everything else.
        """
        self.options = options or Options()
        security.check_binding(host, self.options)
        security.check_tls(self.options)
        for name, port in (("rest_port", rest_port), ("grpc_port", grpc_port)):
            if not 0 <= port <= 65535:
                raise ValueError(f"{name} is {port}: it must be in 0 to 65535")
        self._models_dir = Path(models_dir).resolve() if models_dir is not None else None
        self._adapted_dir = Path(adapted_dir).resolve() if adapted_dir is not None else None
        self.host, self.rest_port, self.grpc_port = host, rest_port, grpc_port
        self._config_file = model_config_file
        versions, metrics = VersionCache(), Metrics()
        directories = self._models_dir, self._adapted_dir
        self._configured = ConfiguredModels(
            lambda: scan(*directories, versions=versions), lambda name: find(name, *directories, versions=versions)
        )
        load = Loader(metrics, self.options.batching)
        self.manager = Manager(
            self._configured, poll_seconds, load, versions=versions, gone=metrics.drop, find=self._configured.find
        )
        metrics.is_served = self.manager.is_available
        quota = self.options.quota
        self.plane = DataPlane(self.manager, metrics, Budget(quota.tensor_bytes, quota.bytes_under_way))
        self.adapter = Adapter(self.plane, self._adapted_dir, self.options)
        self._stopped = threading.Event()
        self._models_file: ConfigFile | None = None
        self._listener: socket.socket | None = None
        self._grpc: GrpcServer | None = None
        self._executor: BoundedExecutor | None = None
        self._rest_thread: threading.Thread | None = None
        self._started = False

    @property
    def url(self) -> str:
        """The REST API's address."""
        return f"{'http' if self.options.tls_cert is None else 'https'}://{self.host}:{self.rest_port}"

    @property
    def grpc_target(self) -> str:
        """The gRPC API's address."""
        return f"{self.host}:{self.grpc_port}"

    def start(self) -> "Server":
        """Load everything, then open the ports. If that fails, nothing of it is left.

        Raises:
            FileNotFoundError: ``models_dir`` or ``model_config_file`` does not exist.
            PortInUseError: a port is taken.
            ServingError: the config file is refused, or one of its models does not become available.
        """
        if self._models_dir is not None and not self._models_dir.is_dir():
            raise FileNotFoundError(f"there is no models directory {self._models_dir}")
        if self._adapted_dir is not None:
            self._adapted_dir.mkdir(parents=True, exist_ok=True)
            self.adapter.sweep()
        if without_onednn.is_on():
            text = "oneDNN is on, and some malformed requests to convolutions would end this process"
            event(log, logging.WARNING, text, remedy=f"set {without_onednn.VARIABLE}=0 before TensorFlow is imported")
        try:
            self._open()
        except BaseException:
            self._release()
            raise
        self._started = True
        event(log, logging.INFO, "serving", models=len(self.manager.names()), rest=self.url, grpc=self.grpc_target)
        return self

    def _open(self) -> None:
        # bound first: a port in use is found before minutes of loading
        self._listener = listener = ports.bind(self.host, self.rest_port, "REST")
        listener.listen(BACKLOG)  # who connects while models are loaded waits, instead of being refused
        self._grpc = grpc = GrpcServer(self.adapter, self._configured, self.host, self.grpc_port, self.options)
        if self._config_file is not None:
            self._configured.replace(self.manager, model_config.read_file(self._config_file), "servable")
        self.manager.start()
        self.adapter.warm_up()
        if self.options.models_config is not None:
            self._models_file = ConfigFile(Path(self.options.models_config))
            self._models_file.update(self._configured())
        self.rest_port, self.grpc_port = listener.getsockname()[1], grpc.port
        grpc.start()
        self._start_rest(listener)
        threading.Thread(target=self._keep_house, name="expiry", daemon=True).start()
        if self._config_file is not None and self.options.model_config_poll_seconds:
            threading.Thread(target=self._follow_config_file, name="model-config", daemon=True).start()

    def stop(self) -> None:
        """Stop accepting, finish the requests under way (at most 5 s), release everything. Safe to call twice."""
        if not self._started or self._stopped.is_set():
            return
        event(log, logging.INFO, "stopping", grace_seconds=GRACE_SECONDS)
        self._release()

    def _release(self) -> None:
        """End whatever has been started, all of it or a part."""
        finished = None if self._grpc is None else self._grpc.stop(GRACE_SECONDS)
        if self._rest_thread is not None:
            self._rest.should_exit = True
            self._rest_thread.join()
        if self._listener is not None:
            self._listener.close()
        if self._grpc is not None and finished is not None:
            finished.wait()
            self._grpc.release()
        self.manager.stop()
        if self._executor is not None:
            self._executor.shutdown()
        self._stopped.set()

    def wait(self) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP (from the main thread) or until another thread calls ``stop``."""
        if threading.current_thread() is threading.main_thread():
            ports.stop_on_signals(self.stop)
        self._stopped.wait()

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _keep_house(self) -> None:
        """Delete expired policies, and keep TF Serving's list of models, now and then."""
        every, expiring = min(60.0, (self.options.retention.expire_seconds or 600) / 10), 0.0
        while not self._stopped.wait(every if self._models_file is None else min(every, 1.0)):
            try:
                if self._models_file is not None:
                    self._models_file.update(self._configured())
                if time.monotonic() >= expiring:
                    expiring = time.monotonic() + every
                    self.adapter.expire()
            except Exception:  # tried again the next time
                log.exception("keeping house failed")

    def _follow_config_file(self) -> None:
        """Read the list of models again and again; one that cannot be read changes nothing."""
        assert self._config_file is not None
        while not self._stopped.wait(self.options.model_config_poll_seconds):
            try:
                self._configured.follow(self.manager, self._config_file)
            except (OSError, ServingError) as error:
                event(log, logging.ERROR, "the list of models is not followed", file=self._config_file, error=error)

    def _start_rest(self, listener: socket.socket) -> None:
        options = self.options
        self._executor = BoundedExecutor(WORKERS, options.quota.waiting, "rest")
        config = uvicorn.Config(
            RestApp(self.plane, self.adapter, self._executor, options),
            http=slow_clients.protocol(options.quota.client_seconds),
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            access_log=False,
            log_config=None,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=int(GRACE_SECONDS),
        )
        self._rest = uvicorn.Server(config)

        def run() -> None:
            with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                runner.run(self._rest.serve(sockets=[listener]))

        listener.listen(BACKLOG)  # from here on connections queue, so nobody has to wait for the thread
        thread = threading.Thread(target=run, name="rest", daemon=True)
        thread.start()
        self._rest_thread = thread
