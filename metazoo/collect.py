"""Any ``gymnasium.Env`` + a ``step`` callable → ``Episodes``: how adaptation data is collected outside training.

Owns what every caller would otherwise get subtly wrong: flattening observations, clipping actions for the
environment only, ``previous_*`` at episode boundaries, the closing step, padding, terminated against truncated.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from metazoo.artefact.answers import AnswerError, Outcome, describe, flatten_observation, read_reset, read_step
from metazoo.artefact.episodes import pad_episodes, save_episodes, validate_episodes
from metazoo.artefact.logs import load_episodes
from metazoo.artefact.logs.minari import save as save_minari
from metazoo.artefact.spaces import (
    CollectionError,
    action_filler,
    action_spec,
    check_spaces,
    env_name,
    observation_spec,
    require_env,
    space_from_metadata,
    space_to_metadata,
    to_env_action,
)
from metazoo.types import Episodes

__all__ = [
    "Collected",
    "CollectionError",
    "Env",
    "Episodes",
    "action_spec",
    "check_spaces",
    "collect",
    "env_name",
    "flatten_observation",
    "load_episodes",
    "observation_spec",
    "pad_episodes",
    "save_episodes",
    "save_minari",
    "space_from_metadata",
    "space_to_metadata",
    "to_env_action",
    "validate_episodes",
]

Env = gym.Env
Step = Callable[..., Mapping[str, Any]]
"""``step(observations=[1,...], previous_actions=[1,...], previous_rewards=[1], previous_done=[1], memory=[1,S],
seed=[1], deterministic=[1]) -> {"actions": [1,...], "memory": [1,S], ...}`` on numpy arrays: the signature ``step``."""

MAX_STEPS_WITHOUT_HORIZON = 100_000


class Collected(NamedTuple):
    """What ``collect`` returns.

    ``episodes``: batch-first numpy, one row: ``[1, K, T, ...]``. ``memory``: ``[S]`` after the last episode (as it
    was given, unless ``online``). ``returns``: ``[K]``, undiscounted sums of rewards, float64.
    """

    episodes: Episodes
    memory: np.ndarray
    returns: np.ndarray


def collect(
    env: gym.Env,
    step: Step,
    *,
    episodes: int,
    seed: int,
    memory: np.ndarray,
    horizon: int | None = None,
    deterministic: bool = False,
    online: bool = False,
) -> Collected:
    """Play ``episodes`` episodes one after another and record them for ``adapt``.

    Args:
        env: a single (not vectorised) environment; its spaces should have passed ``check_spaces``.
        step: the policy, see ``Step``.
        episodes: K ≥ 1.
        seed: decides the environment's resets and every action draw.
        memory: ``[S]`` or ``[1, S]``, the policy's memory at the start.
        horizon: T ≥ 1, the padded length; an episode that reaches it is truncated there. None: the environment must
            end its episodes itself, and they are padded to the longest.
        deterministic: take modes instead of samples.
        online: the policy learns while it plays (``metadata["memory"]["online"]``): memory is carried through the
            episodes, with one closing step on each final observation whose action is discarded.

    Raises:
        CollectionError: 0 episodes, what is no environment, a NaN or infinite observation, action or reward, a wrong
            shape, or an environment that raises; one sentence that names the environment, the step and the value.
    """
    require_env(env)
    if episodes < 1:
        raise CollectionError(f"episodes is {episodes}: at least 1 episode is needed to adapt")
    if horizon is not None and horizon < 1:
        raise CollectionError(f"horizon is {horizon}: an episode has at least 1 step")
    player = _Player(env, step, np.random.default_rng(seed), deterministic, online)
    carried = np.asarray(memory, np.float32).reshape(1, -1)
    played = []
    for number in range(episodes):
        record, after = player.episode(number, carried, horizon)
        carried = after if online else carried
        played.append(record)
    length = horizon or max(len(record.rewards) for record in played)
    padded = [_pad(record, length, env.action_space) for record in played]
    stacked = Episodes(*(np.stack(field)[None] for field in zip(*padded, strict=True)))
    returns = np.array([np.sum(record.rewards, dtype=np.float64) for record in played])
    return Collected(stacked, carried[0].copy(), returns)


class _Player:
    """Plays single episodes; holds what does not change between them."""

    def __init__(self, env: gym.Env, step: Step, rng: np.random.Generator, deterministic: bool, online: bool):
        self.env, self.step, self.rng, self.online = env, step, rng, online
        self.name = env_name(env)
        self.deterministic = np.array([deterministic])
        self.action_shape, self.action_dtype = action_spec(env.action_space)

    def episode(self, number: int, memory: np.ndarray, horizon: int | None) -> tuple[Episodes, np.ndarray]:
        """One episode as unpadded arrays ``[t, ...]``, and the memory ``[1, S]`` after it."""
        limit = horizon or MAX_STEPS_WITHOUT_HORIZON
        observation = self._reset(number)
        action, reward = np.zeros(self.action_shape, self.action_dtype), 0.0
        observations, actions, rewards = [], [], []
        terminated = truncated = False
        while not (terminated or truncated):
            where = f"at step {len(rewards)} of episode {number}"
            observations.append(observation)
            action, memory = self._act(observation, action, reward, False, memory, where)
            observation, reward, terminated, truncated = self._env_step(action, where)
            actions.append(action)
            rewards.append(reward)
            if len(rewards) == limit and not (terminated or truncated):
                if horizon is None:
                    raise CollectionError(f"{self.name} did not end an episode in {limit} steps: give a horizon")
                truncated = True
        if self.online:
            where = f"after the last step of episode {number}"
            _, memory = self._act(observation, action, reward, True, memory, where)
        ends = np.zeros((2, len(rewards)), bool)
        ends[:, -1] = terminated, truncated
        ended, cut = ends
        fields = np.stack(observations), observation, np.stack(actions), np.array(rewards, np.float32)
        return Episodes(*fields, ended, cut, np.ones(len(rewards), np.float32)), memory

    def _reset(self, number: int) -> np.ndarray:
        try:
            answer = self.env.reset(seed=int(self.rng.integers(2**31)))
        except Exception as error:  # the user's code: whatever it raises is reported as one sentence
            raise CollectionError(f"{self.name} failed to reset for episode {number}: {describe(error)}") from error
        where = f"at the reset of episode {number}"
        try:
            return self._observation(read_reset(answer), where)
        except AnswerError as error:
            raise error.by(self.name, where) from error

    def _act(
        self, observation: np.ndarray, action: np.ndarray, reward: Any, done: bool, memory: np.ndarray, where: str
    ) -> tuple[np.ndarray, np.ndarray]:
        outputs = self.step(
            observations=observation[None],
            previous_actions=np.asarray(action, self.action_dtype)[None],
            previous_rewards=np.array([reward], np.float32),
            previous_done=np.array([done]),
            memory=memory,
            seed=self.rng.integers(-(2**31), 2**31, 1, dtype=np.int64).astype(np.int32),
            deterministic=self.deterministic,
        )
        chosen = np.asarray(outputs["actions"])
        if chosen.shape != (1, *self.action_shape):
            needed = [1, *self.action_shape]
            raise CollectionError(f"the policy's actions have shape {list(chosen.shape)} {where}: need {needed}")
        if not np.all(np.isfinite(chosen)):
            raise CollectionError(f"the policy's action is {chosen[0].tolist()} {where}: it must be finite")
        return chosen[0].astype(self.action_dtype), np.asarray(outputs["memory"], np.float32)

    def _env_step(self, action: np.ndarray, where: str) -> Outcome:
        played = to_env_action(self.env.action_space, action)
        try:
            answer = self.env.step(played)
        except Exception as error:
            raise CollectionError(f"{self.name} failed {where} on action {played}: {describe(error)}") from error
        try:
            outcome = read_step(answer)
        except AnswerError as error:
            raise error.by(self.name, where) from error
        return outcome._replace(observation=self._observation(outcome.observation, where))

    def _observation(self, observation: Any, where: str) -> np.ndarray:
        try:
            array = flatten_observation(self.env.observation_space, observation)
        except Exception as error:
            raise CollectionError(f"{self.name} gave a wrong observation {where}: {describe(error)}") from error
        if not np.all(np.isfinite(array)):
            bad = array[~np.isfinite(array)][0]
            raise CollectionError(f"{self.name} gave an observation with {bad} in it {where}: all must be finite")
        return array


def _pad(record: Episodes, length: int, action_space: gym.Space) -> Episodes:
    """Pad the time axis to ``length``: zeros, with a valid action so that no op meets an index out of range."""
    missing = length - len(record.rewards)

    def pad(field: np.ndarray, value: Any = 0) -> np.ndarray:
        filler = np.broadcast_to(np.asarray(value, field.dtype), (missing, *field.shape[1:]))
        return np.concatenate([field, filler])

    padded = {name: pad(field) for name, field in record._asdict().items() if name != "final_observations"}
    padded["actions"] = pad(record.actions, action_filler(action_space))
    return record._replace(**padded)
