"""The small films of the list: ``python -m metazoo.gallery.previews`` records one of every policy that comes along.

Of a few test tasks the one with the median gain is shown. The file is part of the package; policies that are not in it
are shown by a drawing of their family.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from metazoo.artefact.places import savedmodels_directory
from metazoo.artefact.whole import write_whole
from metazoo.gallery.play import stage_of
from metazoo.hub import listing

FILE: Final = Path(__file__).with_name("page") / "previews.json"
TASKS, TASKS_ON_THE_HOST = 9, 3
FRAMES: Final = 60
"""Of an episode, at most."""


def preview(version: Path) -> dict[str, Any]:
    """The task, and the shown episode before and after, thinned out."""
    stage = stage_of(version)
    count = TASKS_ON_THE_HOST if hasattr(stage.family, "environment") else TASKS
    plays = [stage.play(stage.family.sample(1, "test", seed), seed) for seed in range(count)]
    gains = [one["after"]["mean"] - one["before"]["mean"] for one in plays]
    one = plays[int(np.argsort(gains)[len(gains) // 2])]
    shown = {"task": _short(one["task"]), **{when: thinned(one[when]["episode"]) for when in ("before", "after")}}
    if "curves" in one:
        (seen,) = one["explored"][0]["episodes"][:1]
        shown["support"] = _short([[x[0], y[0]] for x, y in zip(seen["states"], seen["actions"], strict=False)])
        inputs, outputs = one["curves"]["inputs"][::4], [curve[::4] for curve in one["curves"]["outputs"]]
        shown["curves"] = _short({"inputs": inputs, "before": outputs[0], "after": outputs[-1]})
    return shown


def thinned(episode: dict[str, Any]) -> dict[str, Any]:
    """States of at most ``FRAMES`` moments, the last among them; of discrete actions all, with their rewards."""
    states = episode["states"]
    kept = np.unique(np.linspace(0, len(states) - 1, min(FRAMES, len(states))).astype(int))
    made = {"states": _short([states[i] for i in kept])}
    if len(states[0]) == 1:  # a bandit's state is nothing: what it did is the picture
        made = {"states": [[1]] * len(states), "actions": episode["actions"], "rewards": _short(episode["rewards"])}
    return made


def _short(value: Any) -> Any:
    """Numbers to three digits."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


def main(names: list[str]) -> None:
    """Records those that are named, or all; keeps what is there of the others."""
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    for name, version in listing.policies(savedmodels_directory()).items():
        if not names or name in names:
            found[name] = preview(version)
            print(name, flush=True)
            write_whole(FILE, json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
