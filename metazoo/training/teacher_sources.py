"""Where teachers come from: ``load_teacher`` recognises what a directory holds.

A student's preset names its teacher: a policy of the zoo, a directory, or ``experts:N``, which are trained first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from metazoo.algorithms.common.teachers import Teacher
from metazoo.artefact import signatures, store
from metazoo.artefact.places import savedmodels_directory
from metazoo.hub.listing import find
from metazoo.policies.distributions import distribution_for
from metazoo.pretrained import family_of
from metazoo.tasks.host_family import AnyFamily
from metazoo.training import experts, sb3_teacher

EXPERTS = "experts"
Loader = Callable[[Path, AnyFamily], tuple[Teacher, AnyFamily]]
"""``(directory, the student's family) → teacher, the family as the teacher sees it``."""


def load_policy(directory: Path, family: AnyFamily) -> tuple[Teacher, AnyFamily]:
    """A feed-forward policy of the zoo, adapted ones included: it is asked through its signature ``act``.

    Raises:
        ValueError: the policy is recurrent, or this installation does not know its family.
        store.CorruptedError: a file does not match its checksum.
    """
    store.verify(directory)
    metadata = store.read_metadata(directory) or {}
    if metadata["memory"]["online"]:
        raise ValueError(
            f"{metadata['name']} remembers its steps; a teacher is asked about single observations, so choose a"
            " feed-forward policy."
        )
    model, theirs = tf.saved_model.load(str(directory)), family_of(metadata)
    names = distribution_for(theirs.action_space).parameters
    tensors = [np.asarray(tensor) for tensor in store.read_checkpoint(directory).values()]
    size = sum(tensor.size for tensor in tensors if tensor.dtype.kind == "f")

    def parameters(tasks: Any, observations: tf.Tensor) -> dict[str, tf.Tensor]:
        lead, shape = tf.shape(observations)[:2], observations.shape[2:]
        answer = model.signatures[signatures.ACT](observations=tf.reshape(observations, [-1, *shape]))
        return {name: tf.reshape(answer[name], tf.concat([lead, answer[name].shape[1:]], 0)) for name in names}

    made = metadata.get("provenance") or {}
    cost = {key: made[key] for key in ("env_steps", "seconds") if key in made}
    return Teacher(metadata["name"], size, parameters, cost=cost), theirs


def load_tf_agents(directory: Path, family: AnyFamily) -> tuple[Teacher, AnyFamily]:
    """What TF-Agents' PolicySaver wrote: see ``metazoo.tf_agents.as_teacher.load_teacher``."""
    from metazoo.tf_agents.as_teacher import load_teacher  # an extra, and slow to import

    return load_teacher(directory, family)


LOADERS: dict[str, Loader] = {
    signatures.METADATA_FILE: load_policy,
    experts.WEIGHTS_FILE: experts.load_experts,
    "policy_specs.pbtxt": load_tf_agents,
    sb3_teacher.FILE: sb3_teacher.load_teacher,
}
"""A file that only such a directory holds → what loads it. A new kind of teacher is one line here."""


def teacher_for(text: str, family: AnyFamily, family_args: dict[str, Any], directory: Path, seed: int) -> Teacher:
    """The teacher that a preset names; experts that are not yet in ``directory`` are trained there.

    Raises:
        ValueError: as ``load_teacher``; or ``text`` is empty, or not ``experts:N``.
    """
    if not text:
        raise ValueError("there is no teacher; --set teacher=NAME, teacher=DIRECTORY or teacher=experts:N says whom.")
    kind, _, count = text.partition(":")
    if kind != EXPERTS:
        return load_teacher(text, family)
    if not count.isdigit() or not int(count):
        raise ValueError(f"teacher is {text!r}; experts are written with their number, such as experts:40.")
    if not directory.exists():
        hidden = {key: value for key, value in family_args.items() if key != (family.reveals or ("",))[0]}
        experts.train_experts(family.name, hidden, int(count), directory, seed)
    return load_teacher(directory, family)


def load_teacher(name_or_dir: str | Path, family: AnyFamily) -> Teacher:
    """The teacher of that name in the zoo, or in that directory, for a student on ``family``.

    A teacher that sees more or less than the student is shown what it is used to: the task's hidden field, appended to
    what the student sees, or the student's view without it.

    Raises:
        ValueError: nothing known is there, or it was trained on another family or on other spaces.
        store.CorruptedError: a file does not match its checksum.
    """
    directory = Path(name_or_dir)
    if not any((directory / mark).exists() for mark in LOADERS):
        directory = find(str(name_or_dir), savedmodels_directory())
    load = next(load for mark, load in LOADERS.items() if (directory / mark).exists())
    teacher, theirs = load(directory, family)
    if theirs.name != family.name or theirs.action_space != family.action_space:
        raise ValueError(
            f"{teacher.name} was trained on {theirs.name} with actions {theirs.action_space}; the student learns on"
            f" {family.name} with actions {family.action_space}."
        )
    show = _view(theirs, family)
    return teacher._replace(parameters=lambda tasks, seen: teacher.parameters(tasks, show(tasks, seen)))


def _view(theirs: AnyFamily, ours: AnyFamily) -> Callable[[Any, tf.Tensor], tf.Tensor]:
    """From what the student sees of tasks ``[M, ...]``, ``[M, N, ...]``, to what the teacher is used to see."""
    wanted, given = theirs.observation_space, ours.observation_space
    if wanted.shape == given.shape:
        return lambda tasks, seen: seen
    if theirs.reveals is None or len(wanted.shape) != 1 or len(given.shape) != 1:
        raise ValueError(f"the teacher sees {list(wanted.shape)} and the student {list(given.shape)}: not the same.")
    field = theirs.reveals[1]

    def revealed(tasks: Any, seen: tf.Tensor) -> tf.Tensor:
        value = getattr(tasks, field)
        value = tf.reshape(value, [tf.shape(seen)[0], 1, wanted.size - given.size])
        shown = tf.broadcast_to(value, [*tf.unstack(tf.shape(seen)[:2]), wanted.size - given.size])
        return tf.concat([seen, tf.cast(shown, seen.dtype)], -1)

    return revealed if wanted.size > given.size else lambda tasks, seen: seen[..., : wanted.size]
