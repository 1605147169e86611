"""What ``metazoo.load`` returns: a policy that acts, adapts, and can be published for serving.

Everything runs through the SavedModel's own signatures, the same ones that TF Serving calls; no learner is rebuilt.
"""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import tensorflow as tf

from metazoo import axes
from metazoo import collect as collecting
from metazoo.artefact import answers, lineage, rewards, signatures, store
from metazoo.artefact import warm_start as warm
from metazoo.artefact.intervals import HELD_OUT_SEED, better
from metazoo.artefact.logs import is_log
from metazoo.artefact.off_policy import check_on_policy
from metazoo.edge.export import Source
from metazoo.edge.exports import Exports
from metazoo.hub.transfer import find
from metazoo.types import Episodes, StepInputs, StepOutputs

if TYPE_CHECKING:  # they bring SciPy and TensorFlow Probability: two seconds that loading need not wait for
    from metazoo.rollouts.agent import Agent
    from metazoo.tasks.host_family import AnyFamily


def load(name: str | os.PathLike[str], version: int | None = None) -> "Pretrained":
    """The policy of that name (downloaded if need be: ``metazoo.hub.transfer.find``), or in that directory (a version
    directory, or one that holds versions).

    Raises:
        ValueError: there is no such policy, or no such version of it.
        metazoo.hub.sources.HubError: it cannot be downloaded.
        store.CorruptedError: a file does not match its checksum.
    """
    directory = find(name)
    if version is not None:
        found = store.versions(directory.parent)
        if version not in found:
            raise ValueError(f"{directory.parent.name} has no version {version}; it has {sorted(found)}.")
        directory = found[version]
    store.verify(directory)
    metadata = store.read_metadata(directory)
    if metadata is None:
        raise ValueError(
            f"{directory} is a SavedModel, but not a metazoo policy: it has no {signatures.METADATA_FILE}."
        )
    return Pretrained(directory, metadata, tf.saved_model.load(str(directory)))


@final
class Pretrained(Exports):
    """A loaded policy and its memory ``[S]``; adapting returns another one with the same graph.

    Copies share the graph. Pickled (to a pool of processes, Ray, joblib), it travels as the name of its directory and
    its memory; the directory must hold the same network where it is unpickled.
    """

    def __init__(self, directory: Path, metadata: Mapping[str, Any], model: Any, memory: np.ndarray | None = None):
        self.directory = Path(directory).absolute()
        self.metadata = dict(metadata)
        self._model = model
        self.memory = self._run(signatures.INITIAL_MEMORY, rows=[0])["memory"][0] if memory is None else memory

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def version(self) -> int:
        return int(self.directory.name) if self.directory.name.isdigit() else 0

    def act(self, observations: Any, deterministic: bool = True, seed: int = 0) -> np.ndarray:
        """Actions for one observation or a batch ``[B, ...]``: the mode, or a sample; not clipped.

        Raises:
            ValueError: a wrong shape, NaN or infinity; or the policy is recurrent: its memory changes at every step,
                so use ``step``.
        """
        if self.metadata["memory"]["kind"] == "recurrent":
            raise ValueError(f"{self.name} remembers its steps; use step, which returns the next memory.")
        space = self._space("observation_space")
        shape, _ = collecting.observation_spec(space)
        observations = answers.read_observations(space, observations)
        lead = observations.ndim - len(shape)
        rows = observations.reshape(-1, *shape)
        previous_shape, previous_dtype = collecting.action_spec(self._space("action_space"))
        answer = self.step(
            observations=rows,
            previous_actions=np.zeros((len(rows), *previous_shape), previous_dtype),
            previous_rewards=np.zeros(len(rows), np.float32),
            previous_done=np.zeros(len(rows), bool),
            memory=np.broadcast_to(self.memory, (len(rows), self.memory.size)),
            seed=np.arange(seed, seed + len(rows), dtype=np.int32),
            deterministic=np.full(len(rows), deterministic),
        )
        actions = answer["actions"]
        return actions if lead else actions[0]

    def step(self, **inputs: Any) -> dict[str, np.ndarray]:
        """The signature ``step`` on arrays of ``B`` rows (the contract: ``metazoo.artefact.signatures``).

        Raises:
            ValueError: NaN or infinity in an input, which would give actions nevertheless.
        """
        for name, value in inputs.items():
            answers.require_finite(np.asarray(value), name)
        return self._run(signatures.STEP, **inputs)

    def adapt(
        self,
        env_or_episodes: Any,
        episodes: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        off_policy: bool = False,
        keep_better: int = 0,
        warm_start: str | os.PathLike[str] | None = None,
    ) -> "Pretrained":
        """A policy adapted to an environment, or by recorded episodes.

        With a ``gymnasium.Env``, plays ``steps`` rounds of ``episodes`` episodes (by default as many as it was trained
        for), each with the policy that the round before made. With recorded episodes (``Episodes``, lists of dicts, a
        table, a Minari data set, the name of a file: ``metazoo.collect.load_episodes``) makes one step; they must be
        this policy's own, with this memory, and sampled, unless ``off_policy`` insists.

        ``keep_better`` N plays N held-out episodes with the policy as it was and N as it is then, on the same seeds,
        and returns the one with the higher mean return; ``metadata["adapted"]["kept"]`` has the evidence. It costs 2 N
        episodes, and few of them may choose wrongly.

        ``warm_start`` is a directory of published adaptations: the first step takes over the memory of the nearest one
        if held-back episodes say that it is better (``metazoo.artefact.warm_start``); the record says whose.

        Raises:
            collect.CollectionError: it is neither; the spaces do not fit, or the environment answers with something
                unusable; or the recorded episodes are another controller's.
            ValueError: ``steps`` below 1, or above 1 with recorded episodes; ``keep_better`` below 0, or with these;
                ``warm_start`` with one episode, or of a policy without fast weights.
        """
        if keep_better < 0 or (keep_better and is_log(env_or_episodes)):
            raise ValueError(
                f"keep_better is {keep_better}; it must be a number of episodes to play in an environment."
            )
        trained = self.metadata["adapt"]
        if is_log(env_or_episodes):
            return self._adapt_to_recorded(env_or_episodes, steps, off_policy, warm_start)
        steps = max(1, trained["steps"]) if steps is None else steps
        episodes = trained["episodes"] if episodes is None else episodes
        if steps < 1:
            raise ValueError(f"steps is {steps}; it must be at least 1.")
        collecting.check_spaces(env_or_episodes, self.metadata)
        adapted = self
        for made in range(steps):
            played = self._collect(env_or_episodes, episodes, seed + made, adapted.memory, False)
            if made == 0:
                self._warn_of_rewards(played)
            said = adapted._on_policy(played.episodes, True) if made == steps - 1 else {}
            adapted = adapted._inner_step(played.episodes, said, None if made else warm_start)
        return self._better(adapted, env_or_episodes, keep_better, seed) if keep_better else adapted

    def _better(self, adapted: "Pretrained", env: Any, episodes: int, seed: int) -> "Pretrained":
        """This policy or the adapted one, whichever did better, with the evidence in its record."""
        before, after = (one.evaluate(env, episodes, HELD_OUT_SEED + seed) for one in (self, adapted))
        kept = better(before, after)
        metadata = {**adapted.metadata, "adapted": {**adapted.metadata["adapted"], "kept": kept}}
        return Pretrained(self.directory, metadata, self._model, (adapted if kept["which"] == "after" else self).memory)

    def _adapt_to_recorded(self, episodes: Any, steps: int | None, off_policy: bool, warm_start: Any) -> "Pretrained":
        """One inner step; several for a supervised policy, whose examples do not depend on what it did."""
        supervised = self.metadata.get("supervised", False)
        steps = (max(1, self.metadata["adapt"]["steps"]) if supervised else 1) if steps is None else steps
        if steps < 1 or (steps > 1 and not supervised):
            raise ValueError(f"steps is {steps}; recorded episodes allow one, the next needs fresh ones.")
        fields = collecting.load_episodes(episodes, self.metadata)
        said, adapted = self._on_policy(fields, off_policy), self
        rewards.warn(fields.rewards, fields.mask, self.metadata)
        for _ in range(steps):
            adapted = adapted._inner_step(fields, said, warm_start)
        return adapted

    def evaluate(self, env: Any, episodes: int = 20, seed: int = 10_000, deterministic: bool = False) -> np.ndarray:
        """Undiscounted returns ``[episodes]`` on a ``gymnasium.Env``, each episode from the policy's memory as it is.

        Raises:
            collect.CollectionError: as ``adapt``.
        """
        collecting.check_spaces(env, self.metadata)
        if episodes < 1:
            raise collecting.CollectionError(f"episodes is {episodes}: at least 1 episode is needed")
        online = self.metadata["memory"]["online"]
        parts = [(1, seed + i) for i in range(episodes)] if online else [(episodes, seed)]
        played = [self._collect(env, count, start, self.memory, deterministic) for count, start in parts]
        self._warn_of_rewards(*played)
        return np.concatenate([one.returns for one in played])

    def publish(self, directory: str | os.PathLike[str], task: str | None = None) -> Path:
        """Writes this policy as the next version of ``<directory>/<name>-<task>``, ready for TF Serving.

        A policy that was loaded from there, with its own task (or none), is the next version of itself; else ``task``
        is ``adapted`` by default. All rules: ``metazoo.artefact.lineage``.

        Returns:
            The version directory.

        Raises:
            ValueError: a task that cannot be part of a name, a name that another model has, or a next step of a policy
                that has a newer version by now.
            OSError: nothing can be written there.
        """
        path = lineage.publish_made(self.directory, self.metadata, self.version, Path(directory), task, self.memory)
        if (
            path.parent.resolve() == self.directory.parent.resolve()
        ):  # the next version of itself: the next step starts from it
            self.directory, self.metadata = path, dict(store.read_metadata(path) or self.metadata)
        return path

    def source(self) -> Source:
        """What ``metazoo.edge`` exports."""
        return Source(self._model, self.memory, self.metadata, self.version)

    def agent(self) -> "Agent":
        """The policy as evaluation plays it, in graph: every row has its own copy of the memory."""
        from metazoo.rollouts.agent import Agent

        online = self.metadata["memory"]["online"]
        return Agent(lambda: tf.constant(self.memory), self._graph_step, self._graph_adapt, online)

    def __copy__(self) -> "Pretrained":
        return Pretrained(self.directory, self.metadata, self._model, self.memory)

    def __deepcopy__(self, memo: Any) -> "Pretrained":
        return Pretrained(self.directory, copy.deepcopy(self.metadata, memo), self._model, self.memory.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.directory, _network(self.directory), self.metadata, self.memory)

    def _collect(self, env: Any, episodes: int, seed: int, memory: np.ndarray, deterministic: bool) -> Any:
        return collecting.collect(
            env,
            self.step,
            episodes=episodes,
            seed=seed,
            memory=memory,
            horizon=self.metadata["horizon"],
            deterministic=deterministic,
            online=self.metadata["memory"]["online"],
        )

    def _warn_of_rewards(self, *played: collecting.Collected) -> None:
        together = Episodes(
            *(np.concatenate(field, 1) for field in zip(*(one.episodes for one in played), strict=True))
        )
        rewards.warn(together.rewards, together.mask, self.metadata)

    def _on_policy(self, episodes: Episodes, insist: bool) -> dict[str, float]:
        def predict(signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return self._run(signature, **inputs)

        return check_on_policy(episodes, self.metadata, predict, self.memory, own=False, insist=insist)

    def _inner_step(self, episodes: Episodes, said: Mapping[str, float], warm_start: Any = None) -> "Pretrained":
        """``warm_start``: a directory of adaptations, one of which may take the step's place."""
        answer = self._run(signatures.ADAPT, memory=self.memory[None], **episodes._asdict())
        diagnostics = {name: float(answer[name][0]) for name in ("loss", "kl")} | dict(said)
        made = lineage.adapted_since(self.metadata, self.name, self.version)
        record = lineage.with_step(made, episodes.mask.shape[1], diagnostics)
        memory = answer["memory"][0]
        if warm_start is not None:
            found = self._warmer(episodes, Path(warm_start))
            memory, record = memory if found.memory is None else found.memory, {**record, **found.record}
        return Pretrained(self.directory, {**self.metadata, "adapted": record}, self._model, memory)

    def _warmer(self, episodes: Episodes, directory: Path) -> warm.Choice:
        """The memory of a published adaptation, if it is better than an inner step by the episodes held back."""
        index = warm.Index(directory, self.name, self.version, self.memory)
        return warm.start(
            index,
            lambda memory, fit: self._run(signatures.ADAPT, memory=memory[None], **fit._asdict())["memory"][0],
            lambda inputs: self.step(**inputs),
            self.metadata,
            episodes,
            self.memory,
        )

    def _run(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        function = self._model.signatures[signature]
        specs = function.structured_input_signature[1]
        tensors = {name: tf.constant(inputs[name], spec.dtype) for name, spec in specs.items()}
        return {name: value.numpy() for name, value in function(**tensors).items()}

    def _space(self, name: str) -> Any:
        return collecting.space_from_metadata(self.metadata[name])

    def _graph_step(self, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any) -> StepOutputs:
        lead = key.shape
        rows = lead.num_elements()

        def flat(tensor):
            return tf.reshape(tensor, [rows, *tensor.shape[2:]])

        answer = self._model.signatures[signatures.STEP](
            **{f"{name}": flat(value) for name, value in inputs._asdict().items()},
            memory=flat(tf.broadcast_to(memory, [*lead, memory.shape[-1]])),
            seed=flat(tf.bitcast(key, tf.int32)),
            deterministic=flat(tf.broadcast_to(deterministic, lead)),
        )
        shaped = {name: tf.reshape(value, [*lead, *value.shape[1:]]) for name, value in answer.items()}
        after = shaped.pop("memory") if self.metadata["memory"]["online"] else memory
        parameters = {name: value for name, value in shaped.items() if name in ("logits", "loc", "scale")}
        return StepOutputs(shaped["actions"], parameters, shaped["log_probs"], after)

    def _graph_adapt(self, memory: tf.Tensor, episodes: Episodes) -> tf.Tensor:
        fields = axes.batch_major(episodes)._asdict()
        return self._model.signatures[signatures.ADAPT](memory=memory[:, 0], **fields)["memory"][:, None]


def _unpickled(directory: Path, network: str, metadata: Mapping[str, Any], memory: np.ndarray) -> Pretrained:
    """The policy that was pickled. Raises StoreError where its files are not there, or not the same."""
    if _network(directory) != network:
        raise store.StoreError(f"{directory} holds another network now than when {metadata['name']} was pickled.")
    return Pretrained(directory, metadata, tf.saved_model.load(str(directory)), memory)


def _network(directory: Path) -> str:
    """What tells a version's graph and variables from others'; the metadata may change."""
    try:
        parts = [directory / "saved_model.pb", *sorted((directory / "variables").iterdir())]
        return "".join(map(store.sha256, parts))
    except OSError as error:
        raise store.StoreError(
            f"{directory} is missing or incomplete, and a policy is pickled as its directory and its memory: put it "
            "there, or send the policy's name and load it in the other process."
        ) from error


def family_of(metadata: Mapping[str, Any], **changes: Any) -> "AnyFamily":
    """The family a policy was trained on, with changed arguments such as ``horizon``.

    Raises:
        ValueError: this installation does not know the family, or does not find it where the metadata says.
    """
    from metazoo.tasks import own

    return own.family_of(metadata, **changes)
