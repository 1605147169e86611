"""Whole trainings and evaluations as Ray tasks, each with cores and a process of its own.

What a task gives does not depend on where it runs: it is what ``metazoo train --jobs`` and ``metazoo evaluate`` give on
as many cores. Tasks of a node that was lost are begun again; a training then goes on from its checkpoint, where the
nodes share its directory.
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import cloudpickle

from metazoo import progress
from metazoo.distributed import connect
from metazoo.distributed.actor import do
from metazoo.tasks import own
from metazoo.training.campaign import Options, Run, Trained, train_one

RETRIES = 3
"""How often a task is begun again whose node was lost."""
ENDING_SECONDS = 60.0
"""What interrupted tasks have to save what they did."""

Results = Generator[tuple[int, Any], None, None]
Work = Callable[[], Any]
"""A ``functools.partial`` of a module's function, or what else ``cloudpickle`` takes."""


@dataclass(frozen=True)
class RayTasks:
    """Tasks on the cluster at ``address``, with so many ``threads`` each."""

    address: str = connect.LOCAL
    threads: int = 1

    def results(self, works: Sequence[Work], what: str) -> Results:
        """Each work's number and result, or the exception that it raised, in the order in which they end.

        Left early, it interrupts those that run as Ctrl-C would, and waits for them to save what they have.
        """
        with connect.connected(self.address, threads=self.threads, heard=True):
            import ray

            task = ray.remote(num_cpus=self.threads, max_calls=1, max_retries=RETRIES)(do)
            setup = self.threads, os.getcwd()
            refs = {task.remote(*setup, cloudpickle.dumps(work)): number for number, work in enumerate(works)}
            try:
                with progress.stage(what, len(works)) as advance:
                    while refs:
                        (ref,), _ = ray.wait(list(refs), num_returns=1)
                        number = refs.pop(ref)
                        advance(1)
                        yield number, _result(ref)
            finally:
                for ref in refs:
                    ray.cancel(ref, force=False)
                if refs:
                    ray.wait(list(refs), num_returns=len(refs), timeout=ENDING_SECONDS)

    def in_order(self, works: Sequence[Work], what: str) -> Iterator[Any]:
        """The results in the works' order, each as soon as those before it are there. Raises what a work raised."""
        there: dict[int, Any] = {}
        following = 0
        with closing(self.results(works, what)) as results:
            for number, result in results:
                there[number] = result
                while following in there:
                    if isinstance(there[following], Exception):
                        raise there[following]
                    yield there.pop(following)
                    following += 1

    def trained(self, runs: list[Run], options: Options) -> Trained:
        """Trains each run; see ``metazoo.training.campaign``. One that is there already is not begun again."""
        for run in runs:
            if run.begun and not options.resume:
                raise FileExistsError(
                    f"{run.directory} holds a training already; go on with --resume or choose another --out."
                )
        alone = options._replace(spread=None, resume=True)  # a task that is begun again goes on
        works = [partial(_train, run._replace(out=run.out.resolve()), alone) for run in runs]
        with closing(self.results(works, "trainings")) as results:
            for number, result in results:
                yield runs[number], result


def _train(run: Run, options: Options) -> Any:
    """In the task's process."""
    own.give_again(run.preset.family, run.preset.family_from)
    return train_one(run, options)


def _result(ref: Any) -> Any:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(ref)
    except RayTaskError as error:
        return error.cause
    except RayError as error:
        return RuntimeError(str(error).strip().splitlines()[0])
