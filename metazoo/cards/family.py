"""``metazoo card --family``: what a family of the user's own is, and how it would be trained."""

from collections.abc import Mapping
from typing import Any, Final

from metazoo.artefact.spaces import space_to_metadata
from metazoo.cards.task_ranges import range_rows
from metazoo.presets.own import preset_of
from metazoo.tasks import own
from metazoo.tasks.views.gym_view import gym_spaces_of

SHOWN: Final = ("rl2", "maml", "domain_randomised")
"""The algorithms whose settings are shown; the others are like one of them."""


def describe(reference: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The family's spaces, horizon and tasks, and the settings that ``metazoo train --family`` would take.

    Raises:
        own.FamilyError: there is none.
    """
    family = own.made_from(reference, arguments)
    observation_space, action_space = map(space_to_metadata, gym_spaces_of(family))
    presets = {one: preset_of(family, one, family_from=reference, family_args=arguments) for one in SHOWN}
    return {
        "family": family.name,
        "family_from": reference,
        "family_args": dict(arguments),
        "about": (type(family).__doc__ or "").strip().split("\n\n")[0],
        "observation_space": observation_space,
        "action_space": action_space,
        "horizon": family.horizon,
        "tasks": [row._asdict() for row in range_rows(family)],
        "presets": {
            one: {key: getattr(preset, key) for key in ("name", "config", "network", "updates", "learning_rate")}
            for one, preset in presets.items()
        },
    }


def _listed(entries: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in entries.items())


def text(about: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [f"{about['family']}, from {about['family_from']}: {about['about']}", ""]
    lines += [f"{key:18} {_listed(about[key])}" for key in ("observation_space", "action_space")]
    lines += [f"{'horizon':18} {about['horizon']}", "", f"{'task parameter':18} {'training':24} out of range"]
    lines += [f"{row['name']:18} {row['train']:24} {row['ood']}" for row in about["tasks"]]
    for algorithm, preset in about["presets"].items():
        settings = {**preset["config"], "learning_rate": preset["learning_rate"]}
        lines += ["", f"metazoo train --family {about['family_from']} --algorithm {algorithm}"]
        lines += [f"  {preset['name']}, {preset['updates']} updates; network {preset['network'] or 'as usual'}"]
        lines += ["  " + " ".join(f"{key}={value}" for key, value in settings.items())]
    return "\n".join(lines)
