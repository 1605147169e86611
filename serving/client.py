"""A client of the embedded server (and, for playing, of TF Serving): metadata, predictions, playing, adapting.

Everything goes through the public APIs; nothing here imports TensorFlow unless gRPC is asked for.
"""

import http.client
import io
import threading
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np

from metazoo import signatures
from metazoo.collect import Collected, Env, check_spaces, collect, flatten_observation, space_from_metadata
from serving.errors import Code, ServingError
from serving.sampling import sample

TIMEOUT_SECONDS: Final = 60.0
_CODES: Final = {400: Code.INVALID_ARGUMENT, 403: Code.PERMISSION_DENIED, 404: Code.NOT_FOUND, 409: Code.ALREADY_EXISTS,
                 429: Code.RESOURCE_EXHAUSTED, 501: Code.UNIMPLEMENTED, 503: Code.UNAVAILABLE}  # fmt: skip


class Round(NamedTuple):
    """One round of adaptation: the ``returns [K]`` of its episodes, and what the server says of the result."""

    returns: np.ndarray
    model: str
    version: int
    diagnostics: Mapping[str, float]
    timings: Mapping[str, float]


class Adaptation(NamedTuple):
    """What ``Client.adapt`` returns: the published ``model`` and ``version``, and its ``rounds`` in order."""

    model: str
    version: int
    rounds: list[Round]


class Client:
    """Talks to a server. Safe to use from several threads (each has its own connection).

    Args:
        url: the REST API, such as ``http://127.0.0.1:8501``.
        grpc: the gRPC API, such as ``127.0.0.1:8500``; if given, ``predict`` (and so ``act`` and ``play``) uses it.
        timeout: seconds for one request.
    """

    def __init__(self, url: str, grpc: str | None = None, timeout: float = TIMEOUT_SECONDS):
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"url {url!r} is not a REST address: need one like http://127.0.0.1:8501")
        self._address, self._timeout = (parts.hostname, parts.port or 80), timeout
        self._local = threading.local()
        self._metadata: dict[str, Mapping[str, Any]] = {}
        self._stub = _GrpcStub(grpc, timeout) if grpc else None

    def policies(self) -> list[dict[str, Any]]:
        """All served policies: name, version, family, algorithm, memory, what they were adapted from."""
        return self._json("GET", "/zoo/v1/policies")["policies"]

    def metadata(self, name: str) -> dict[str, Any]:
        """The policy's ``metazoo.json`` as served now (spaces, memory, horizon, provenance ...)."""
        return self._json("GET", f"/zoo/v1/policies/{quote(name, safe='')}")["metadata"]

    def status(self, name: str) -> list[dict[str, Any]]:
        """Every version of a model, newest first, as TF Serving reports it."""
        return self._json("GET", f"/v1/models/{quote(name, safe='')}")["model_version_status"]

    def predict(
        self, name: str, inputs: Mapping[str, np.ndarray], signature: str = signatures.SERVING_DEFAULT,
        outputs: tuple[str, ...] = (),
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """Run a signature on a batch, through TF Serving's API.

        Args:
            name: the model.
            inputs: arrays by input name.
            signature: its name.
            outputs: which to return (over gRPC, which to send); empty for all.

        Raises:
            ServingError: with the server's code and message.
        """
        if self._stub is not None:
            return self._stub.predict(name, inputs, signature, outputs)
        columns = {key: np.asarray(value).tolist() for key, value in inputs.items()}
        body = msgspec.json.encode({"signature_name": signature, "inputs": columns})
        answer = self._json("POST", f"/v1/models/{quote(name, safe='')}:predict", body)["outputs"]
        if not isinstance(answer, dict):  # the name of an only output is not sent
            return {outputs[0] if outputs else "output": np.asarray(answer)}
        return {key: np.asarray(answer[key]) for key in outputs or answer}

    def act(self, name: str, observation: Any) -> Any:
        """The best action (the mode) of a feed-forward policy for one observation of the environment."""
        metadata = self.metadata_cached(name)
        space = space_from_metadata(metadata["observation_space"])
        observations = flatten_observation(space, observation)[None]
        action = np.asarray(self.predict(name, {"observations": observations}, signatures.ACT)["actions"])[0]
        return action if metadata["action_space"]["type"] == "Box" else action.astype(np.int64)

    def play(self, name: str, env: Env, episodes: int, seed: int, deterministic: bool = False) -> Collected:
        """Play a published policy: its episodes, its memory after them, and their returns ``[episodes]``.

        A feed-forward policy is asked for its distribution (``act``) and sampled here, so that fast weights never
        travel; a recurrent one is stepped with its memory in the client's hands.
        """
        metadata = self.metadata(name)
        check_spaces(env, metadata)
        online = metadata["memory"]["online"]
        step = self._step_remote(name) if online else self._step_by_act(name, metadata)
        memory = self.initial_memory(name) if online else np.zeros(0, np.float32)
        horizon = metadata["horizon"]
        return collect(
            env, step, episodes=episodes, seed=seed, memory=memory, horizon=horizon,
            deterministic=deterministic, online=online,
        )  # fmt: skip

    def adapt(
        self, name: str, env: Env, episodes: int | None = None, steps: int = 1, task: str = "task", seed: int = 0
    ) -> Adaptation:
        """Adapt a served policy to ``env`` and publish the result on the server as ``NAME-TASK``.

        Each of the ``steps`` rounds plays fresh episodes with the newest policy and makes one inner step.

        Args:
            name: a served policy.
            env: the task, any ``gymnasium.Env`` with the policy's spaces.
            episodes: per round; as the policy was trained if None.
            steps: rounds ≥ 1.
            task: names the result.
            seed: decides resets and action draws.

        Raises:
            ServingError: the server refuses. CollectionError: the environment does not fit or fails.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}: at least one round of adaptation is needed")
        if episodes is None:
            episodes = self.metadata(name)["adapt"]["episodes"]
        playing, rounds = name, []
        for number in range(steps):
            collected = self.play(playing, env, episodes, seed + number)
            query = "" if number else f"?task={quote(task, safe='')}"
            path = f"/zoo/v1/policies/{quote(playing, safe='')}:adapt{query}"
            answer = self._json("POST", path, _npz(collected.episodes._asdict()))
            keys = ("model", "version", "diagnostics", "timings")
            rounds.append(Round(collected.returns, *(answer[key] for key in keys)))
            playing = answer["model"]
        return Adaptation(playing, rounds[-1].version, rounds)

    def delete(self, name: str) -> None:
        """Delete an adapted policy from the server."""
        self._json("DELETE", f"/zoo/v1/policies/{quote(name, safe='')}")

    def initial_memory(self, name: str) -> np.ndarray:
        """The policy's own memory ``[S]``."""
        rows = {"rows": np.zeros(1, np.int32)}
        (memory,) = self.predict(name, rows, signatures.INITIAL_MEMORY).values()
        return np.asarray(memory, np.float32)[0]

    def metadata_cached(self, name: str) -> Mapping[str, Any]:
        """``metadata``, asked for once per client: spaces never change between versions of a policy."""
        if name not in self._metadata:
            self._metadata[name] = self.metadata(name)
        return self._metadata[name]

    def close(self) -> None:
        """Close this thread's connection and the gRPC channel."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
        if self._stub is not None:
            self._stub.close()

    def _step_by_act(self, name: str, metadata: Mapping[str, Any]) -> Any:
        parameters = signatures.DISTRIBUTION_PARAMETERS[metadata["distribution"]]

        def step(observations, memory, seed, deterministic, **_):
            outputs = self.predict(name, {"observations": observations}, signatures.ACT)
            rng = np.random.default_rng(int(seed[0]) % 2**32)
            if deterministic[0]:
                return {"actions": outputs["actions"], "memory": memory}
            values = {key: np.asarray(outputs[key], np.float64) for key in parameters}
            return {"actions": sample(metadata, values, rng), "memory": memory}

        return step

    def _step_remote(self, name: str) -> Any:
        def step(**inputs):
            return self.predict(name, inputs, signatures.STEP, ("actions", "memory"))

        return step

    def _json(self, method: str, path: str, body: bytes | None = None) -> Any:
        status, answer = self._request(method, path, body)
        try:
            document = msgspec.json.decode(answer)
        except msgspec.DecodeError as error:
            raise ServingError(Code.UNKNOWN, f"The server answered {status} without JSON: {answer[:200]!r}") from error
        if status != 200:
            message = document.get("error", str(document)) if isinstance(document, dict) else str(document)
            raise ServingError(_CODES.get(status, Code.INTERNAL), message)
        return document

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """One request over this thread's kept connection; a connection the server closed meanwhile is reopened."""
        reused = getattr(self._local, "connection", None) is not None
        connection = self._local.connection if reused else http.client.HTTPConnection(*self._address, self._timeout)
        self._local.connection = None  # put back only if the exchange ends well
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer = response.status, response.read()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            connection.close()
            if reused:
                return self._request(method, path, body)
            raise ServingError(Code.UNAVAILABLE, f"The server closed the connection: {error}") from error
        except OSError as error:
            connection.close()
            where = "http://{}:{}".format(*self._address)
            raise ServingError(Code.UNAVAILABLE, f"There is no server at {where}: {error}") from error
        self._local.connection = connection
        return answer


class _GrpcStub:
    """Predict over gRPC. Imported late: the stubs bring TensorFlow with them."""

    def __init__(self, target: str, timeout: float):
        import grpc
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        from serving import tensors

        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._grpc, self._tensors, self._request_type = grpc, tensors, predict_pb2.PredictRequest
        self._channel = grpc.insecure_channel(target, options=options)
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        self._timeout = timeout

    def predict(
        self, name: str, inputs: Mapping[str, np.ndarray], signature: str, outputs: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        request = self._request_type(output_filter=outputs)
        request.model_spec.name, request.model_spec.signature_name = name, signature
        for key, value in inputs.items():
            self._tensors.encode(np.asarray(value), request.inputs[key])
        try:
            response = self._predict(request, timeout=self._timeout)
        except self._grpc.RpcError as error:
            raise ServingError(Code[error.code().name], error.details()) from error
        return {key: self._tensors.decode(key, proto) for key, proto in response.outputs.items()}

    def close(self) -> None:
        self._channel.close()


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
