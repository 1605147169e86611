"""A preset's task sampler, for its learner."""

from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.common.sampling import Sampling
from metazoo.algorithms.distillation import Student
from metazoo.presets.preset import Preset
from metazoo.samplers.registry import sampler_of


def sampling_of(preset: Preset, learner: Learner, seed: int) -> Sampling | None:
    """The preset's sampler, None where it is ``uniform``.

    Raises:
        ValueError: there is nothing to choose by: no returns of tasks, or tasks that are all alike.
    """
    if isinstance(learner, Student) or learner.family.paired:
        raise ValueError(
            f"sampler is {preset.sampler!r}; {preset.name} learns from no returns of its tasks, so it must be uniform."
        )
    replicas = getattr(learner.config, "replicas", 1)
    sampler = sampler_of(preset.sampler, learner.family, learner.config.tasks // replicas, seed)
    return None if sampler is None else Sampling(sampler, replicas, learner.config.episodes)
