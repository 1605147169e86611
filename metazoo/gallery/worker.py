"""``python -m metazoo.gallery.worker``: plays for the gallery in a process of its own, behind everything else.

One JSON document a line comes in, ``STATUS DOCUMENT`` a line goes out; it ends with its standard input, and when nobody
has asked for as many seconds as its argument says. So a visitor's play never holds the server's interpreter, and at a
low priority it takes what processors have left.
"""

import importlib
import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

NICENESS: Final = 10
KEPT: Final = 16
"""Policies that stay loaded and compiled."""


def main(idle_seconds: float) -> None:
    """Answers until nobody asks any more."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print must not stand among the answers
    os.nice(NICENESS)
    while select.select([0], [], [], idle_seconds)[0] and (line := sys.stdin.buffer.readline()):
        status, document = answer(json.loads(line))
        out.write(b"%d %s\n" % (status, json.dumps(document, allow_nan=False).encode()))
        out.flush()


def answer(request: Mapping[str, Any]) -> tuple[int, Any]:
    """HTTP's status and a document: what was asked for, or ``{"error": sentence}``."""
    from metazoo.artefact.spaces import CollectionError
    from metazoo.artefact.store import StoreError

    try:
        return 200, JOBS[request["job"]](request)
    except (ValueError, CollectionError, StoreError) as error:
        return 400, {"error": " ".join(str(error).split())}
    except Exception as error:  # noqa: BLE001  the server goes on, and says what it was
        return 500, {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def prepare(request: Mapping[str, Any]) -> dict[str, Any]:
    """Imports TensorFlow, while nobody waits for it."""
    importlib.import_module("metazoo.gallery.play")
    return {}


def describe(request: Mapping[str, Any]) -> dict[str, Any]:
    """What of a policy's task a visitor may choose, and what it earns."""
    from metazoo.gallery import parameters

    family = _stage(request["version"]).family
    return {
        "family": family.name,
        "parameters": parameters.sliders(family),
        "hidden": family.hidden,
        "reward": family.reward_unit,
        "horizon": family.horizon,
        "slow": hasattr(family, "environment"),
    }


def play(request: Mapping[str, Any]) -> dict[str, Any]:
    """Explores, adapts and tests on the task that was chosen, or on a test task of the seed."""
    from metazoo.gallery import parameters

    stage, seed = _stage(request["version"]), request["seed"]
    chosen = request.get("task")
    task = stage.family.sample(1, "test", seed) if chosen is None else parameters.task_of(stage.family, chosen)
    return stage.play(task, seed)


def warm(request: Mapping[str, Any]) -> dict[str, Any]:
    """Compiles what ``play`` needs, so that the first visitor does not wait for it."""
    stage = _stage(request["version"])
    if not hasattr(stage.family, "environment"):
        stage.play(stage.family.sample(1, "test", 0), 0)
    return {}


def fit(request: Mapping[str, Any]) -> dict[str, Any]:
    """Which policies a file of episodes fits."""
    from metazoo.gallery import fitting

    return {"policies": fitting.fits(Path(request["file"]), [Path(one) for one in request["versions"]])}


def convert(request: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a file of episodes as arrays, for a policy."""
    from metazoo.gallery import fitting

    fitting.convert(Path(request["file"]), Path(request["version"]), Path(request["out"]))
    return {}


JOBS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "prepare": prepare,
    "describe": describe,
    "play": play,
    "warm": warm,
    "fit": fit,
    "convert": convert,
}


@lru_cache(maxsize=KEPT)
def _stage(version: str) -> Any:
    from metazoo.gallery.play import stage_of

    return stage_of(version)


if __name__ == "__main__":
    main(float(sys.argv[1]))
