"""A policy on a device: it acts and adapts there, from the one file that ``metazoo export --format litert`` writes.

Needs ``ai-edge-litert`` and ``numpy``, and nothing of metazoo: this module can be copied beside a robot's own code.

    policy = Policy("maml_cartpole.tflite", memory_file="memory.npz")
    policy.adapt(env)                # plays K episodes, makes one inner step, writes the memory
    action = policy.act(observation)
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

FORMAT: Final = 1
"""The newest version of the file format that this module reads."""
Arrays = dict[str, np.ndarray]


class EdgeError(ValueError):
    """A file, a memory, a shape or a number that cannot be used; one sentence. Nothing was written."""


class Policy:
    """The policy of a ``.tflite`` file, and its memory ``[S]``: all that it knows about its task.

    Args:
        file: what ``metazoo export NAME --format litert --out FILE`` wrote.
        memory_file: where the memory is kept across power cycles; read if it is there, written by ``adapt``.
        threads: of the interpreter.

    Raises:
        EdgeError: the file is no such file, cut off, changed, or of a newer format; or the memory is not this policy's.
    """

    def __init__(self, file: str | os.PathLike[str], memory_file: str | os.PathLike[str] | None = None, threads=1):
        from ai_edge_litert.interpreter import Interpreter

        model, self.metadata = _read(Path(file))
        about = self.metadata["edge"]
        self.episodes, self.steps = int(about["episodes"]), int(about["steps"])
        self.online = bool(self.metadata["memory"]["online"])
        self._identity = str(about["model_sha256"])
        self._interpreter = Interpreter(model_content=model, num_threads=threads)
        names = self._interpreter.get_signature_list()
        self._runners = {name: self._interpreter.get_signature_runner(name) for name in names}
        self._specs = {name: _specs(runner.get_input_details()) for name, runner in self._runners.items()}
        self.memory_file = None if memory_file is None else Path(memory_file)
        self.memory = self.initial_memory() if "initial_memory" in names else np.zeros(0, np.float32)
        if self.memory_file is not None and self.memory_file.exists():
            self.memory = self._kept(self.memory_file)

    def initial_memory(self) -> np.ndarray:
        """The memory ``[S]`` that the policy came with."""
        return self.run("initial_memory", rows=np.zeros(1, np.int32))["memory"][0].copy()

    def run(self, signature: str, **inputs: Any) -> Arrays:
        """One signature on arrays of one row, as docs/edge.md lists them.

        Raises:
            EdgeError: there is no such signature, or an input with another name, shape or dtype, NaN or infinity.
        """
        if signature not in self._specs:
            raise EdgeError(f"this file has no signature {signature!r}; it has {', '.join(sorted(self._specs))}.")
        specs = self._specs[signature]
        if inputs.keys() != specs.keys():
            raise EdgeError(f"{signature} was given {sorted(inputs)}; it takes {sorted(specs)}.")
        checked = {name: _checked(name, inputs[name], *spec) for name, spec in specs.items()}
        return self._runners[signature](**checked)

    def act(self, observation: Any, deterministic: bool = True, seed: int = 0) -> np.ndarray:
        """The action for one observation: the mode, or a sample by the caller's ``seed``; not clipped.

        Raises:
            EdgeError: as ``run``; or the policy's memory changes at every step: use ``play``, or ``run("step", ...)``.
        """
        if self.online:
            raise EdgeError("this policy remembers its steps; use play, or run('step', ...) and keep its memory.")
        if "step" not in self._specs:
            return self.run("act", observations=np.asarray(observation)[None])["actions"][0]
        return self._step(np.asarray(observation), self._no_action(), 0.0, False, self.memory, seed, deterministic)[0]

    def play(self, env: Any, episodes: int | None = None, seed: int = 0, deterministic: bool = False) -> Arrays:
        """Plays episodes of a ``gymnasium.Env`` one after another, as ``adapt`` takes them: ``[1, K, T, ...]``, padded.

        An online memory is carried through them and kept; the same seed plays the same episodes.

        Raises:
            EdgeError: more than K episodes, or an observation or reward that is not a finite number.
        """
        count = self.episodes if episodes is None else episodes
        if not 1 <= count <= self.episodes:
            raise EdgeError(f"episodes is {count}; this file was exported for 1 to {self.episodes}.")
        rng, memory = np.random.default_rng(seed), self.memory
        record = self._empty()
        for number in range(count):
            memory = self._episode(env, rng, memory, record, number, deterministic)
        self.memory = memory if self.online else self.memory
        return record

    def adapt(self, given: Any, rounds: int | None = None, seed: int = 0) -> dict[str, float]:
        """Adapts to a ``gymnasium.Env``, ``rounds`` times on K fresh episodes (by default as trained), or once to
        recorded episodes of this policy (a mapping, ``[1, k, t, ...]`` or ``[k, t, ...]`` with k ≤ K and t ≤ T).

        The memory is written to ``memory_file`` after each round. Returns ``loss`` and ``kl`` of the last.

        Raises:
            EdgeError: as ``play`` and ``run``; or a memory came out that is not finite, and the old one was kept.
        """
        trained = max(1, int(self.metadata["adapt"]["steps"]))
        recorded = isinstance(given, Mapping)
        rounds = (1 if recorded else trained) if rounds is None else rounds
        if rounds < 1 or (recorded and rounds > 1):
            raise EdgeError(f"rounds is {rounds}; it must be at least 1, and recorded episodes allow one.")
        said: dict[str, float] = {}
        for made in range(rounds):
            before = self.memory
            try:
                played = self._padded(given) if recorded else self.play(given, seed=seed + made)
                answer = self.run("adapt", memory=before[None], **played)
            except BaseException:
                self.memory = before  # an online memory was carried through what was played
                raise
            if not np.all(np.isfinite(answer["memory"])):
                self.memory = before
                raise EdgeError("adapting gave a memory that is not finite; the old one was kept.")
            self.memory = answer["memory"][0].copy()
            said = {name: float(answer[name][0]) for name in ("loss", "kl")}
            if self.memory_file is not None:
                self.save(self.memory_file)
        return said

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the memory; after a power cut the file holds the old one or the new one, whole."""
        content, path = io.BytesIO(), Path(file)
        np.savez(content, memory=self.memory, model=np.array(self._identity))
        new = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with open(new, "wb") as stream:
                stream.write(content.getvalue())
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the name, too, is on the disk now
        finally:
            os.close(directory)

    def reset(self) -> None:
        """Forgets the task: the memory that the policy came with, in ``memory_file`` too."""
        self.memory = self.initial_memory()
        if self.memory_file is not None:
            self.save(self.memory_file)

    def _kept(self, file: Path) -> np.ndarray:
        try:
            with np.load(file, allow_pickle=False) as kept:
                memory, identity = kept["memory"], str(kept["model"])
        except Exception as error:  # NumPy's and the archive's own, of many kinds
            raise EdgeError(f"the memory file {file} cannot be read; delete it to begin anew ({error}).") from error
        if identity != self._identity:
            raise EdgeError(f"the memory file {file} is another policy's; give another name, or delete it.")
        return _checked("memory", memory, self.memory.shape, np.dtype(np.float32))

    def _episode(self, env, rng, memory, record, number, deterministic) -> np.ndarray:
        """Plays one episode into ``record``; the memory after it."""
        observation = self._observation(env, env.reset(seed=int(rng.integers(2**31)))[0])
        action, reward, done, step = self._no_action(), 0.0, False, 0
        while not done:
            seed = int(rng.integers(-(2**31), 2**31, dtype=np.int64))
            record["observations"][0, number, step] = observation
            action, memory = self._step(observation, action, reward, False, memory, seed, deterministic)
            told, reward, terminated, truncated, _ = env.step(self._for_env(action))
            observation, reward = self._observation(env, told), float(reward)
            if not np.isfinite(reward):
                raise EdgeError(f"the environment's reward is {reward} at step {step}; it must be finite.")
            truncated = bool(truncated) or (step + 1 == self.steps and not terminated)
            done = bool(terminated) or truncated
            for name, value in (("actions", action), ("rewards", reward), ("mask", 1.0)):
                record[name][0, number, step] = value
            record["terminated"][0, number, step], record["truncated"][0, number, step] = bool(terminated), truncated
            step += 1
        record["final_observations"][0, number] = observation
        if self.online:  # the closing step, which shows the policy its last reward
            seed = int(rng.integers(-(2**31), 2**31, dtype=np.int64))
            _, memory = self._step(observation, action, reward, True, memory, seed, deterministic)
        return memory

    def _step(self, observation, action, reward, done, memory, seed, deterministic) -> tuple[np.ndarray, np.ndarray]:
        answer = self.run(
            "step",
            observations=observation[None],
            previous_actions=np.asarray(action)[None],
            previous_rewards=np.array([reward], np.float32),
            previous_done=np.array([done]),
            memory=memory[None],
            seed=np.array([seed], np.int32),
            deterministic=np.array([deterministic]),
        )
        return answer["actions"][0], answer["memory"][0] if self.online else memory

    def _observation(self, env: Any, observation: Any) -> np.ndarray:
        """Flat, as Gymnasium flattens it, and checked."""
        shape, dtype = self._specs["step"]["observations"]
        if self.metadata["observation_space"]["type"] != "Box":
            from gymnasium.spaces import flatten

            observation = flatten(env.observation_space, observation)
        return _checked("the observation", np.asarray(observation).astype(dtype), shape[1:], dtype)

    def _for_env(self, action: np.ndarray) -> Any:
        """The action as the environment takes it: clipped to a Box, an ``int`` of a Discrete space."""
        space = self.metadata["action_space"]
        if space["type"] != "Box":
            return int(action) if action.ndim == 0 else np.array(action)
        low, high = (
            np.asarray(unbounded if space[end] is None else space[end], np.float64)
            for end, unbounded in (("low", -np.inf), ("high", np.inf))
        )
        clipped = np.clip(action, np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf))
        return clipped.astype(space["dtype"])

    def _no_action(self) -> np.ndarray:
        shape, dtype = self._specs["step"]["previous_actions"]
        return np.zeros(shape[1:], dtype)

    def _empty(self) -> Arrays:
        """Episodes of which nothing was played; of discrete actions, padding is the first one."""
        specs = {name: spec for name, spec in self._specs["adapt"].items() if name != "memory"}
        record = {name: np.zeros(*spec) for name, spec in specs.items()}
        record["actions"][...] = self.metadata["action_space"].get("start", 0)
        return record

    def _padded(self, given: Mapping[str, Any]) -> Arrays:
        """Recorded episodes with masked steps up to K and T."""
        record = self._empty()
        if given.keys() != record.keys():
            raise EdgeError(f"the episodes hold {sorted(given)}; they need {sorted(record)}.")
        for name, whole in record.items():
            value = np.asarray(given[name])
            value = value if value.ndim == whole.ndim else value[None]
            fits = value.ndim == whole.ndim and value.shape[0] == 1
            axes = 2 if name == "final_observations" else 3
            if not fits or value.shape[axes:] != whole.shape[axes:]:
                raise EdgeError(f"{name} has shape {list(value.shape)}; it must be within {list(whole.shape)}.")
            if any(size > most for size, most in zip(value.shape, whole.shape, strict=True)):
                raise EdgeError(
                    f"{name} has shape {list(value.shape)}; this file was exported for at most {self.episodes} "
                    f"episodes of {self.steps} steps."
                )
            whole[tuple(slice(size) for size in value.shape[:axes])] = value
        return record


def _read(file: Path) -> tuple[bytes, dict[str, Any]]:
    """The model and its metadata. Raises EdgeError."""
    if not file.is_file():
        raise EdgeError(f"there is no file {file}.")
    content = file.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            metadata = json.loads(archive.read("metazoo.json"))
            model = content[: min(entry.header_offset for entry in archive.infolist())]
        about = metadata["edge"]
        newest = int(about["format"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError) as error:
        raise EdgeError(f"{file} is no policy of metazoo for LiteRT, or it was cut off.") from error
    if newest > FORMAT:
        raise EdgeError(f"{file} has the format {newest}, and this runtime reads {FORMAT}; take a newer runtime.")
    if hashlib.sha256(model).hexdigest() != about.get("model_sha256"):
        raise EdgeError(f"{file} was changed since it was exported; download or export it again.")
    return model, metadata


def _specs(details: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (tuple(map(int, one["shape"])), np.dtype(one["dtype"])) for name, one in details.items()}


def _checked(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array in its dtype. Raises EdgeError."""
    array = np.asarray(value)
    if array.shape != shape:
        raise EdgeError(f"{name} has shape {list(array.shape)}; it must be {list(shape)}.")
    if array.dtype.kind not in "biuf" or (dtype.kind in "biu" and not np.array_equal(array.astype(dtype), array)):
        raise EdgeError(f"{name} holds {array.dtype} values; it must hold {dtype} ones.")
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise EdgeError(f"{name} holds {array[~np.isfinite(array)][0]}; all values must be finite.")
    return np.ascontiguousarray(array, dtype)
