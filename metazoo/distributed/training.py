"""``metazoo train --ray``: the one training loop, its updates computed by Ray workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from metazoo.algorithms.common.learner import Learner, MakeUpdate
from metazoo.distributed import connect
from metazoo.distributed.shares import shares_for
from metazoo.presets.preset import Preset
from metazoo.tasks import own

TIME_LIMIT = 600.0


@dataclass(frozen=True)
class OnRay:
    """Updates computed by ``workers`` of the cluster at ``address``; see ``metazoo.training.train.Elsewhere``.

    ``workers``: by default as many as there are shares, or cores in the cluster. ``asked``: how many shares, or as many
    as are usual. ``threads``: cores of a worker. ``time_limit``: seconds after which a worker is replaced that does not
    answer what it has answered before.
    """

    address: str = connect.LOCAL
    workers: int | None = None
    asked: int | None = None
    threads: int = 1
    time_limit: float = TIME_LIMIT

    def shares(self, preset: Preset) -> int:
        if own.was_given(preset.family) and not preset.family_from:
            raise ValueError(
                f"workers do not find the family {preset.family}, which is an object of this program: give it as"
                " 'module:object'."
            )
        return shares_for(preset, self.asked, self.workers or 1)

    def arguments(self, preset: Preset) -> list[str]:
        many = [] if self.workers is None else ["--workers", str(self.workers)]
        return ["--ray", *many, "--shares", str(self.shares(preset))]

    @contextmanager
    def updates(self, learner: Learner, preset: Preset, seed: int, run: Path) -> Iterator[MakeUpdate]:
        from metazoo.distributed.replica import Recipe
        from metazoo.distributed.update import SharedUpdate

        shares = self.shares(preset)
        recipe = Recipe(preset, seed, shares, self.threads, str(run.resolve()))
        with connect.connected(self.address, self.workers or 1, self.threads):
            from metazoo.distributed.workers import RayWorkers

            most = self.workers or max(1, min(shares, connect.cluster_cores() // self.threads))
            with RayWorkers(recipe, most, self.threads, self.time_limit) as workers:
                yield SharedUpdate(learner, workers, shares)
