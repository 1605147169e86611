"""Playing a served policy step by step: what must be remembered between steps is remembered here."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metazoo.artefact import signatures
from metazoo.artefact.answers import read_observation, read_step
from metazoo.collect import action_spec, space_from_metadata, to_env_action
from serving.client.sampling import sample

Predict = Callable[[Mapping[str, np.ndarray], str, tuple[str, ...]], Mapping[str, np.ndarray]]
"""(inputs, signature, wanted outputs) → outputs, of one model."""


def step_by_act(predict: Predict, metadata: Mapping[str, Any]) -> Callable[..., dict[str, Any]]:
    """``step`` of a feed-forward policy: asked for its distribution (``act``) and sampled here, so that fast weights
    never travel."""
    parameters = signatures.DISTRIBUTION_PARAMETERS[metadata["distribution"]]

    def step(observations: np.ndarray, memory: np.ndarray, seed: Any, deterministic: Any, **_: Any) -> dict[str, Any]:
        outputs = predict({"observations": observations}, signatures.ACT, ())
        if deterministic[0]:
            return {"actions": outputs["actions"], "memory": memory}
        values = {key: np.asarray(outputs[key], np.float64) for key in parameters}
        rng = np.random.default_rng(int(seed[0]) % 2**32)
        return {"actions": sample(metadata, values, rng), "memory": memory}

    return step


def step_remote(predict: Predict) -> Callable[..., Mapping[str, np.ndarray]]:
    """``step`` of a recurrent policy, with its memory in the caller's hands."""

    def step(**inputs: np.ndarray) -> Mapping[str, np.ndarray]:
        return predict(inputs, signatures.STEP, ("actions", "memory"))

    return step


class Player:
    """Plays one environment with a served policy, outside ``collect``: a robot's loop, a game.

    ``act`` gives an action for an observation, ``record`` takes what came of it. Memory, previous action and reward,
    and the closing step at an episode's end are looked after.
    """

    def __init__(self, step: Callable[..., Any], memory: np.ndarray, metadata: Mapping[str, Any], seed: int):
        """``step``: as ``collect`` takes it; ``memory [S]``: where to start."""
        self.memory = np.asarray(memory, np.float32).reshape(1, -1)
        self._step, self._online = step, metadata["memory"]["online"]
        self._space = space_from_metadata(metadata["observation_space"])
        self._action_space = space_from_metadata(metadata["action_space"])
        self._shape, self._dtype = action_spec(self._action_space)
        self._rng = np.random.default_rng(seed)
        self._begin()

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        """An action for the environment, clipped to its space.

        Raises:
            CollectionError: the observation does not fit the policy's space, or is not finite.
        """
        self._action = self._call(read_observation(self._space, observation), False, deterministic)
        return to_env_action(self._action_space, self._action)

    def record(self, reward: float, observation: Any, terminated: bool, truncated: bool = False) -> None:
        """What ``env.step`` answered to the action. The end of an episode begins the next.

        Raises:
            CollectionError: a reward that is not one finite number, an end that is not one truth value, or a last
                observation that ``act`` would refuse. Nothing is recorded then.
        """
        outcome = read_step((observation, reward, terminated, truncated, {}))
        ended = outcome.terminated or outcome.truncated
        last = read_observation(self._space, observation) if ended else None
        self._reward = np.float32(outcome.reward)
        if last is not None:
            if self._online:
                self._call(last, True, False)
            self._begin()

    def _begin(self) -> None:
        self._action, self._reward = np.zeros(self._shape, self._dtype), np.float32(0)

    def _call(self, observation: np.ndarray, done: bool, deterministic: bool) -> np.ndarray:
        answer = self._step(
            observations=observation[None],
            previous_actions=np.asarray(self._action, self._dtype)[None],
            previous_rewards=np.array([self._reward], np.float32),
            previous_done=np.array([done]),
            memory=self.memory,
            seed=self._rng.integers(-(2**31), 2**31, 1, dtype=np.int64).astype(np.int32),
            deterministic=np.array([deterministic]),
        )
        if self._online:
            self.memory = np.asarray(answer["memory"], np.float32)
        return np.asarray(answer["actions"])[0].astype(self._dtype)
