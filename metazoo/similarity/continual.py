"""Continual use: a stream of tasks that come back and drift, and a memory of adapted policies that does not forget.

Every task's adaptation is a policy of its own in a directory, so a later one changes nothing of an earlier one. A new
task starts from the nearest, where held-back episodes say that this is better (``metazoo.artefact.warm_start``). Where
there are more than ``quota``, the least useful is deleted: usefulness is Σ ½^(age / half-life) over the times at which
a policy was published, adapted further or started from, age in tasks met since.
"""

import json
import os
from pathlib import Path
from typing import Any, Final, final

from metazoo.artefact import lineage, store
from metazoo.artefact.whole import write_whole
from metazoo.pretrained import Pretrained, load

HALF_LIFE: Final = 50.0
FILE: Final = "usefulness.json"


@final
class Memories:
    """Adaptations of one ``policy`` under ``directory``, at most ``quota`` of them. For one process at a time.

    Raises:
        ValueError: ``quota`` is below 1.
    """

    def __init__(self, policy: Pretrained, directory: str | os.PathLike[str], quota: int = 100):
        if quota < 1:
            raise ValueError(f"quota is {quota}; it must be at least 1.")
        self.policy, self.directory, self.quota = policy, Path(directory), quota
        self._file = self.directory / FILE
        self._uses: dict[str, list[int]] = json.loads(self._file.read_text()) if self._file.exists() else {"": []}

    @property
    def names(self) -> list[str]:
        """Of the policies that are kept."""
        return sorted(name for name in self._uses if name)

    @property
    def met(self) -> int:
        """How many tasks were met so far, those that came back counted again."""
        return len(self._uses[""])

    def meet(
        self, env: Any, task: str, episodes: int | None = None, steps: int | None = None, seed: int = 0
    ) -> Pretrained:
        """The policy for a task: that of its name if there is one, else one adapted to ``env`` now, and kept.

        Raises:
            ValueError, collect.CollectionError: as ``Pretrained.adapt`` and ``publish``.
        """
        name, now = f"{self.policy.name}-{task}", self.met
        self._uses[""].append(now)
        if name in self._uses and (path := lineage.newest_in(self.directory / name)):
            self._used(name, now)
            return load(path)
        warm = self.directory if self.policy.metadata["memory"]["kind"] == "fast_weights" else None
        adapted = self.policy.adapt(env, episodes, steps, seed, warm_start=warm)
        adapted.publish(self.directory, task)
        if started := adapted.metadata["adapted"].get("warm_start"):
            self._used(started["from"], now)
        self._used(name, now)
        return adapted

    def usefulness(self, name: str) -> float:
        """Σ ½^(age / half-life) over a kept policy's uses."""
        return sum(0.5 ** ((self.met - when) / HALF_LIFE) for when in self._uses[name])

    def _used(self, name: str, now: int) -> None:
        self._uses.setdefault(name, []).append(now)
        while len(self.names) > self.quota:
            least = min((one for one in self.names if one != name), key=self.usefulness)
            with lineage.changing(self.directory, least):
                store.delete_model(self.directory / least)
            del self._uses[least]
        write_whole(self._file, json.dumps(self._uses) + "\n")
