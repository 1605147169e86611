"""A client of the embedded server and of stock TF Serving: predictions, playing, adapting.

Everything goes through public APIs; nothing here imports TensorFlow unless gRPC or a store is asked for.
"""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.artefact import rewards, signatures
from metazoo.artefact.answers import read_observation
from metazoo.artefact.intervals import HELD_OUT_SEED
from metazoo.collect import Collected, Env, Episodes, check_spaces, collect, load_episodes, space_from_metadata
from serving.client.player import Player, step_by_act, step_remote
from serving.client.rest import RestTransport

TIMEOUT_SECONDS: Final = 60.0
TRIES: Final = 6


class Round(NamedTuple):
    """One round of adaptation: the ``returns [K]`` of its episodes, and what the server says of the result."""

    returns: np.ndarray
    model: str
    version: int
    diagnostics: Mapping[str, float]
    timings: Mapping[str, float]


class Adaptation(NamedTuple):
    """What ``Client.adapt`` returns: the published ``model`` and ``version``, and its ``rounds`` in order.

    ``kept``: with ``keep_better``, which policy that is (``which``: ``before`` or ``after`` adapting), both means of
    the held-out returns with their intervals, and how many ``episodes`` it took.
    """

    model: str
    version: int
    rounds: list[Round]
    kept: Mapping[str, Any] | None = None


class Store(NamedTuple):
    """The directories that a stock TF Serving serves: pretrained policies, and where adapted ones are published.

    ``reload``: a new policy is announced by HandleReloadConfigRequest, over gRPC; else the server finds it by itself.
    """

    models: str | os.PathLike[str]
    adapted: str | os.PathLike[str]
    reload: bool = False


class Client:
    """Talks to a server. Safe to use from several threads (each has its own REST connection).

    Refusals of a server that has no time (503, UNAVAILABLE) are tried again, with longer and longer pauses.

    Args:
        url: ``http://127.0.0.1:8501`` or ``https://…``, the REST API; or ``grpc://127.0.0.1:8500`` or ``grpcs://…``.
        grpc: besides a REST address, the gRPC API (``127.0.0.1:8500``) for predictions, and so ``act`` and ``play``.
        timeout: seconds for one request.
        token: what the server wants for adapting and deleting.
        ca: a PEM file that the server's certificate is checked with; None: the system's authorities.
        store: for a stock TF Serving, which adapts through the signature and publishes through the file system.
        tries: of one request.
    """

    def __init__(
        self, url: str, grpc: str | None = None, timeout: float = TIMEOUT_SECONDS, token: str | None = None,
        ca: str | None = None, store: Store | None = None, tries: int = TRIES,
    ):  # fmt: skip
        by_grpc = url.startswith(("grpc://", "grpcs://"))
        self._main = _grpc(url, timeout, tries, token, ca) if by_grpc else RestTransport(url, timeout, tries, token, ca)
        self._predicting: Any = self._main
        if grpc is not None and not by_grpc:
            scheme = "grpcs" if url.startswith("https://") else "grpc"
            self._predicting = _grpc(f"{scheme}://{grpc}", timeout, tries, token, ca)
        self._zoo = self._main if store is None else _store(self._predicting, store)
        self._metadata: dict[str, Mapping[str, Any]] = {}

    def policies(self) -> list[dict[str, Any]]:
        """All served policies: name, version, family, algorithm, memory, what they were adapted from."""
        return self._zoo.policies()

    def metadata(self, name: str) -> dict[str, Any]:
        """The policy's ``metazoo.json`` as served now (spaces, memory, horizon, provenance ...)."""
        return self._zoo.policy(name)["metadata"]

    def status(self, name: str) -> list[dict[str, Any]]:
        """Every version of a model, newest first, as TF Serving reports it."""
        return self._main.status(name)

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
        return self._predicting.predict(name, inputs, signature, outputs)

    def act(self, name: str, observation: Any) -> Any:
        """The best action (the mode) of a feed-forward policy for one observation of the environment.

        Raises:
            CollectionError: the observation does not fit the policy's space, or is not finite.
        """
        metadata = self.metadata_cached(name)
        space = space_from_metadata(metadata["observation_space"])
        observations = read_observation(space, observation)[None]
        action = np.asarray(self.predict(name, {"observations": observations}, signatures.ACT)["actions"])[0]
        return action if metadata["action_space"]["type"] == "Box" else action.astype(np.int64)

    def play(self, name: str, env: Env, episodes: int, seed: int, deterministic: bool = False) -> Collected:
        """Play a published policy: its episodes, its memory after them, and their returns ``[episodes]``.

        A feed-forward policy is asked for its distribution (``act``) and sampled here, so that fast weights never
        travel; a recurrent one is stepped with its memory in the client's hands. Rewards far from those of its training
        give a ``metazoo.artefact.rewards.RewardWarning``, here and when adapting.
        """
        metadata = self.metadata(name)
        played = self._play(name, metadata, env, episodes, seed, deterministic)
        rewards.warn(played.episodes.rewards, played.episodes.mask, metadata)
        return played

    def _play(
        self, name: str, metadata: Mapping[str, Any], env: Env, episodes: int, seed: int, deterministic: bool = False
    ) -> Collected:
        check_spaces(env, metadata)
        step, memory = self._step_and_memory(name, metadata)
        return collect(
            env, step, episodes=episodes, seed=seed, memory=memory, horizon=metadata["horizon"],
            deterministic=deterministic, online=metadata["memory"]["online"],
        )  # fmt: skip

    def player(self, name: str, seed: int = 0) -> Player:
        """Play it step by step, in a loop of your own."""
        metadata = self.metadata(name)
        step, memory = self._step_and_memory(name, metadata)
        return Player(step, memory, metadata, seed)

    def adapt(
        self, name: str, env: Env, episodes: int | None = None, steps: int = 1, task: str = "task", seed: int = 0,
        keep_better: int = 0, warm_start: bool = False,
    ) -> Adaptation:  # fmt: skip
        """Adapt a served policy to ``env`` and publish the result as ``NAME-TASK``.

        Each of the ``steps`` rounds plays fresh episodes with the newest policy and makes one inner step.

        Args:
            name: a served policy.
            env: any ``gymnasium.Env`` with the policy's spaces: what it is adapted to.
            episodes: per round; as the policy was trained if None.
            steps: rounds ≥ 1.
            task: the name of what it is adapted to, and so part of the result's.
            seed: decides resets and action draws.
            keep_better: so many held-out episodes are played with the policy as it was and as many as it is then, on
                the same seeds, and the better one is published; it costs twice so many episodes, and few of them may
                choose wrongly. 0: the adapted one is what is published.
            warm_start: the first round takes over the nearest published adaptation of the policy where held-back
                episodes say that this is better; the record says whose. Over REST alone.

        Raises:
            ServingError: the server refuses. CollectionError: the environment does not fit or fails.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}: at least one round of adaptation is needed")
        if warm_start and not isinstance(self._zoo, RestTransport):
            raise ValueError("warm_start is for the embedded server, over REST: give its http address")
        if keep_better < 0:
            raise ValueError(f"keep_better is {keep_better}: it must be a number of episodes")
        before = self._before(name, env, keep_better, seed) if keep_better else None
        if episodes is None:
            episodes = self.metadata(name)["adapt"]["episodes"]
        playing, rounds = name, []
        for number in range(steps):
            metadata = self.metadata(playing)
            collected = self._play(playing, metadata, env, episodes, seed + number)
            if number == 0:  # one warning is enough
                rewards.warn(collected.episodes.rewards, collected.episodes.mask, metadata)
            answer = self._adapt_to(
                playing, collected.episodes, None if number else task, False, warm_start and not number
            )
            keys = ("model", "version", "diagnostics", "timings")
            rounds.append(Round(collected.returns, *(answer[key] for key in keys)))
            playing = answer["model"]
        if before is None:
            return Adaptation(playing, rounds[-1].version, rounds)
        after = self._held_out(playing, env, keep_better, seed)
        answer = self._zoo.keep(playing, *before, after, uuid.uuid4().hex)
        return Adaptation(playing, answer["version"], rounds, answer["kept"])

    def _before(self, name: str, env: Env, episodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The policy's memory as it is, which may be replaced, and its held-out returns."""
        memory = self.initial_memory(name)
        return memory, self._held_out(name, env, episodes, seed)

    def _held_out(self, name: str, env: Env, episodes: int, seed: int) -> np.ndarray:
        """Returns ``[episodes]``, each from the policy's memory as it is published."""
        metadata, first = self.metadata(name), HELD_OUT_SEED + seed
        online = metadata["memory"]["online"]
        parts = [(1, first + i) for i in range(episodes)] if online else [(episodes, first)]
        return np.concatenate([self._play(name, metadata, env, *part).returns for part in parts])

    def adapt_to(self, name: str, episodes: Any, task: str | None = None, off_policy: bool = False) -> dict[str, Any]:
        """One inner step on recorded episodes, published; what the service answers. A retry does no harm.

        ``Episodes``, or logs of any kind that ``metazoo.collect.load_episodes`` reads. They must be the policy's own,
        sampled (``diagnostics`` has their ``log_prob`` and the ``expected_log_prob`` of its own); ``off_policy``
        insists on others.
        """
        answer = self._adapt_to(name, episodes, task, off_policy)
        rewards.say_all(answer)
        return answer

    def _adapt_to(
        self, name: str, episodes: Any, task: str | None, off_policy: bool = False, warm_start: bool = False
    ) -> dict[str, Any]:
        if not isinstance(episodes, Episodes):
            episodes = load_episodes(episodes, self.metadata_cached(name))
        more = {"warm_start": True} if warm_start else {}
        return self._zoo.adapt(name, task, episodes._asdict(), uuid.uuid4().hex, off_policy, **more)

    def delete(self, name: str) -> None:
        """Delete an adapted policy."""
        self._zoo.delete(name)

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
        self._main.close()
        if self._predicting is not self._main:
            self._predicting.close()

    def _step_and_memory(self, name: str, metadata: Mapping[str, Any]) -> tuple[Any, np.ndarray]:
        def predict(inputs: Mapping[str, np.ndarray], signature: str, outputs: tuple[str, ...]) -> dict[str, Any]:
            return self.predict(name, inputs, signature, outputs)

        if metadata["memory"]["online"]:
            return step_remote(predict), self.initial_memory(name)
        return step_by_act(predict, metadata), np.zeros(0, np.float32)


def _grpc(url: str, timeout: float, tries: int, token: str | None, ca: str | None) -> Any:
    from serving.client.grpc import GrpcTransport

    scheme, _, target = url.partition("://")
    return GrpcTransport(target, timeout, tries, token, ca, secure=scheme == "grpcs")


def _store(server: Any, where: Store) -> Any:
    from serving.client.store import StoreTransport

    return StoreTransport(server, Path(where.models), Path(where.adapted), where.reload)
