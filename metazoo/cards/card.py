"""Model cards: a README.md in Hugging Face's format beside the versions of a policy, from what was recorded.

Every figure comes from the policy's metadata and its evaluation report; ``assets.extra/metazoo.json`` is the same
content for machines. ``python -m metazoo.cards.card savedmodels/NAME`` writes a card and its picture again from it.
"""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metazoo.algorithms.registry import LEARNERS
from metazoo.artefact import device_file, store
from metazoo.artefact.whole import write_whole
from metazoo.cards.card_tables import curves, example, results, seeds
from metazoo.cards.images import USE, tables
from metazoo.cards.plots import adaptation_curve
from metazoo.cards.tail_tables import explained, parameters, served, tail
from metazoo.cards.task_ranges import range_rows
from metazoo.presets.registry import PRESETS
from metazoo.pretrained import family_of
from metazoo.tasks.host_family import AnyFamily
from metazoo.words import count

MEASURED = {"point": "error", "image": "accuracy", "transition": "log-likelihood"}
"""What supervised policies are measured by, by what their examples are."""


def write_card(base_path: Path, metadata: Mapping[str, Any], report: Mapping[str, Any]) -> Path:
    """Writes ``base_path/README.md``, the card of the policy whose version directories are in ``base_path``."""
    path = Path(base_path) / "README.md"
    write_whole(path, card_of(base_path, metadata, report))
    return path


def card_of(base_path: Path, metadata: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """The text of a card. The same input gives the same text.

    ``metadata`` is the newest version's ``metazoo.json`` (an ``evaluation.ood`` report in it gets its own columns, and
    ``evaluation.seeds`` a section), ``report`` that of ``evaluate_preset``.

    Raises:
        ValueError: the metadata's family is not known here.
        KeyError: the metadata or the report lacks a required entry.
    """
    family = family_of(metadata)
    sections = [
        _front_matter(metadata, report),
        _introduction(Path(base_path), metadata),
        _tasks(Path(base_path), metadata, family),
        results(metadata, report),
        *tail(metadata, report),
        *parameters(report),
        *served(metadata.get("evaluation") or {}),
        *explained(Path(base_path), metadata),
        *tables(metadata.get("evaluation") or {}),
        *seeds(metadata),
        _limits(metadata, report, family),
        _use(metadata),
        _provenance(metadata),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(metadata: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Hugging Face's YAML header; scalars are written as JSON, which YAML contains."""
    name, family, algorithm = metadata["name"], metadata["family"], metadata["algorithm"]
    lines = ["---", "library_name: metazoo", "license: apache-2.0", "pipeline_tag: reinforcement-learning", "tags:"]
    tags = ["reinforcement-learning", "meta-learning", "meta-reinforcement-learning", "tensorflow", "keras"]
    lines += [f"- {json.dumps(tag)}" for tag in [*tags, algorithm, family]]
    lines += ["model-index:", f"- name: {json.dumps(name)}", "  results:"]
    for split, curve in curves(metadata, report).items():
        lines += [
            "  - task:",
            "      type: reinforcement-learning",
            "      name: reinforcement-learning",
            "    dataset:",
            f"      name: {json.dumps(f'metazoo {family}, {split} tasks')}",
            f"      type: {json.dumps(f'metazoo/{family}')}",
            f"      split: {json.dumps(split)}",
            "    metrics:",
        ]
        for point in curve:
            label = f"mean {report['metric']} {_when(point, metadata, report)}"
            lines += [
                f"    - type: {'mean_reward' if report['metric'] == 'return' else json.dumps(report['metric'])}",
                f"      value: {round(point['mean'], 4)}",
                f"      name: {json.dumps(label)}",
                "      verified: false",
            ]
    return "\n".join([*lines, "---"])


def _when(point: Mapping[str, Any], metadata: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """What a point of the curve was measured after."""
    if report.get("online"):
        whole = len(report["curve"]) == 1
        return "in a trial" if whole else f"in episode {point['episodes'] + 1} of a trial"
    if metadata.get("supervised"):
        return f"after {count(point['steps'], 'step')} on {count(metadata['horizon'], example(metadata))}"
    return f"after {count(point['steps'], 'step')}, {count(point['episodes'], 'episode')}"


def _introduction(base_path: Path, metadata: Mapping[str, Any]) -> str:
    name, adapt, memory = metadata["name"], metadata["adapt"], metadata["memory"]
    described = PRESETS[name].description if name in PRESETS else metadata.get("description")
    lines = [f"# {name}", f"{described}." if described else f"A policy for the family `{metadata['family']}`."]
    lines.append(_about(metadata["algorithm"]))
    if adapt["steps"]:
        examples = f"all on the same {count(metadata['horizon'], example(metadata))} of the new task"
        episodes = f"each from {count(adapt['episodes'], 'fresh episode')} of the new task"
        lines.append(
            f"Made to adapt with {count(adapt['steps'], 'inner step')},"
            f" {examples if metadata.get('supervised') else episodes}. What it carries about a task is a memory of"
            f" {memory['size']:,} floats."
        )
    if memory["online"]:
        lines.append(
            f"Made for trials of {count(adapt['episodes'], 'episode')} of the same task. What it carries through them"
            f" is a memory of {memory['size']:,} floats, which changes at every step."
        )
    lines.append("The SavedModel acts, adapts and serves by itself: no Python is needed under TF Serving.")
    lines += _on_a_device(base_path)
    if (base_path / "curve.png").is_file():
        lines.append("![Return against adaptation steps, with baselines](curve.png)")
    return "\n\n".join(lines)


def _about(algorithm: str) -> str:
    """What the learner says of itself."""
    about = LEARNERS[algorithm].about if algorithm in LEARNERS else ""
    return about or f"Trained with `{algorithm}`."


def _on_a_device(base_path: Path) -> list[str]:
    """A sentence about the file for devices, if it belongs to the newest version."""
    path = device_file.beside(store.latest(base_path)) if store.versions(base_path) else None
    about = None if path is None else device_file.about(path)
    if path is None or about is None:
        return []
    page = _repository(base_path) / "docs" / "edge.md"
    how = f" ([how]({Path(os.path.relpath(page, base_path)).as_posix()}))" if page.is_file() else ""
    return [
        f"On a device, [`{path.name}`]({path.name}) ({path.stat().st_size / 1e3:.0f} kB) does the same without"
        f" TensorFlow{how}. It was checked: on {about['checked']} random inputs of every signature it answered as the"
        " SavedModel."
    ]


def _tasks(base_path: Path, metadata: Mapping[str, Any], family: AnyFamily) -> str:
    rows = range_rows(family)
    lines = ["## Tasks", (type(family).__doc__ or "").strip().split("\n\n")[0]]
    page = _page(_repository(base_path) / "docs" / "families", metadata["family"])
    if page:
        lines[-1] += f" ([equations, units and bounds]({Path(os.path.relpath(page, base_path)).as_posix()}))"
    if metadata.get("family_from"):
        lines.append(f"The family is not one of the zoo's: it is `{metadata['family_from']}`, in its owner's code.")
    table = [
        "| parameter | unit | train, validation, test | out of range (`ood`) | original |",
        "|---|---|---|---|---|",
    ]
    table += [f"| `{row.name}` | {row.unit} | {row.train} | {row.ood} | {row.nominal} |" for row in rows]
    lines.append("\n".join(table))
    if any(row.sampled for row in rows):
        lines.append("Ranges marked ~ are the extremes among 2,000 sampled tasks.")
    if not metadata.get("supervised"):
        lines.append(f"An episode lasts at most {count(metadata['horizon'], 'step')}.")
    if metadata.get("rewards"):
        lines.append(_rewards(metadata["rewards"]))
    return "\n\n".join(lines)


def _rewards(seen: Mapping[str, Any]) -> str:
    low, high = (f"{seen[end]:.3g}".replace("-", "−") for end in ("low", "high"))
    unit = f"{seen['unit']}; " if seen["unit"] else ""
    return f"Rewards: {unit}{low} to {high} a step in training. It knows no other unit, and a warning says so."


def _page(families: Path, name: str) -> Path | None:
    """The page that the table in the families' README names for a family: some have one in common."""
    readme = families / "README.md"
    found = re.search(rf"\[`{re.escape(name)}`\]\((.*?)\)", readme.read_text("utf-8")) if readme.is_file() else None
    return families / found[1] if found else None


def _repository(base_path: Path) -> Path:
    """Where ``docs/`` would be: two levels up, as in ``savedmodels/<name>``."""
    return Path(base_path).resolve().parent.parent


def _exploring(curve: Sequence[Mapping[str, Any]]) -> str:
    """What playing while learning costs, by the means over the episodes of a trial."""
    if len(curve) == 1:
        return "Exploring costs: what it loses in its first steps buys what it gains in the later ones."
    if curve[-1]["mean"] > curve[0]["ci95"][1]:
        return "Exploring costs: what it loses in a trial's first episodes buys what it gains in the later ones."
    return "Its last episode is no better than its first: what it remembers in between brings nothing that shows."


def _limits(metadata: Mapping[str, Any], report: Mapping[str, Any], family: AnyFamily) -> str:
    adapt, last = metadata["adapt"], report["curve"][-1]
    observation, action = metadata["observation_space"], metadata["action_space"]
    limits = [
        f"It takes exactly the observations and actions it was trained with: {_space(observation)} and"
        f" {_space(action)}, in that order and those units.",
        "It was trained in simulation only, without noise, delays or wear that the family does not have.",
    ]
    if metadata.get("supervised"):
        limits.append(
            f"More than {count(last['steps'], 'inner step')}, or another number of {example(metadata)}s than"
            f" {metadata['horizon']},"
            " is not covered by the table."
        )
    elif adapt["steps"]:
        limits += [
            f"More than {count(last['steps'], 'inner step')}, or another number of episodes than {adapt['episodes']} a"
            " step, is not covered by the table; fewer episodes make noisier steps.",
            "Exploring costs: the episodes it adapts from are played by the policy as it is before that step.",
        ]
        if not metadata["memory"]["online"]:
            limits.append("It adapts between episodes, not within one: a task that changes meanwhile goes unnoticed.")
    elif metadata["memory"]["online"]:
        limits += [
            f"Trials longer than {count(adapt['episodes'], 'episode')} of at most"
            f" {count(metadata['horizon'], 'step')} are not covered by the table.",
            _exploring(report["curve"]),
        ]
        if metadata["memory"]["kind"] == "recurrent":
            limits.append("It has no `act`: whoever plays it keeps its memory, and gives it back at every `step`.")
    else:
        limits.append("It does not adapt: `adapt` returns the memory it was given.")
    if (metadata.get("evaluation") or {}).get("ood"):
        limits.append(
            "Outside the training ranges it does as the `ood` columns show; further out nothing was measured."
        )
    else:
        limits.append("Nothing was measured outside the training ranges.")
    text = "## What it cannot do\n\n" + "\n".join(f"- {limit}" for limit in limits)
    return f"{text}\n\n{family.caveat}" if family.caveat else text


def _space(space: Mapping[str, Any]) -> str:
    if space["type"] == "Discrete":
        return f"{space['n']} discrete actions"
    return f"a {space['type']}" + (f" of shape {list(space['shape'])}" if "shape" in space else "")


def _use(metadata: Mapping[str, Any]) -> str:
    name, adapt = metadata["name"], metadata["adapt"]
    if example(metadata) == "image":
        return _usage(name, USE)
    if metadata["memory"]["online"]:
        use = f"""adapted = policy.adapt(env, episodes={adapt["episodes"]})  # env: any gymnasium.Env with these spaces
adapted.evaluate(env)  # returns of episodes that begin with what it remembers"""
        return _usage(name, use)
    call = f"policy.adapt(env, episodes={adapt['episodes']}, steps={adapt['steps']})" if adapt["steps"] else "policy"
    use = f"""adapted = {call}  # env: any gymnasium.Env with these spaces
action = adapted.act(observation)"""
    return _usage(name, use)


def _usage(name: str, use: str) -> str:
    return f"""## Use

```python
import metazoo

policy = metazoo.load("{name}")
{use}
adapted.publish("adapted/")  # a version directory that TF Serving loads
```

`metazoo serve` serves it over TF Serving's REST and gRPC APIs; so does a stock TF Serving pointed at this directory."""


def _provenance(metadata: Mapping[str, Any]) -> str:
    provenance = metadata["provenance"]
    best = MEASURED[example(metadata)] if metadata.get("supervised") else "return"
    versions = ", ".join(f"{package} {version}" for package, version in provenance["versions"].items())
    return f"""## Made by

```
{provenance["command"]}
{provenance["evaluate_command"]}
```

| | |
|---|---|
| seed | {provenance["seed"]} |
| updates | {provenance["updates"]:,} |
| {f"{example(metadata)}s seen" if metadata.get("supervised") else "environment steps"} | {_steps(metadata)} |
| wall-clock | {provenance["seconds"] / 60:.1f} minutes |{_teacher_row(metadata)}{_federated_row(metadata)}
| hardware | {provenance["hardware"]} |
| versions | {versions} |
| date | {provenance["date"]} |

{_chosen(metadata, best)}
All of this for programs: `metazoo card {metadata["name"]} --json`."""


def _steps(metadata: Mapping[str, Any]) -> str:
    """Steps of training as they were planned: what ended early was not counted."""
    steps = f"{metadata['provenance']['env_steps']:,}"
    return steps if metadata.get("supervised") else f"{steps}, nominal: every episode counted at its full length"


def _teacher_row(metadata: Mapping[str, Any]) -> str:
    """What a student's teacher took, which comes on top."""
    teacher = metadata.get("teacher") or {}
    took = [f"{teacher['env_steps']:,} environment steps (nominal)"] if "env_steps" in teacher else []
    took += [f"{teacher['seconds'] / 60:.1f} minutes"] if "seconds" in teacher else []
    return f"\n| on top: its teacher, {teacher['name']} | {', '.join(took) or 'not known'} |" if teacher else ""


def _federated_row(metadata: Mapping[str, Any]) -> str:
    """Among whom it was trained, and what was sent for it."""
    among = metadata.get("federated")
    if not among:
        return ""
    sent = (among["bytes_down"] + among["bytes_up"]) / among["clients"]
    turns = f"{count(among['rounds'], 'round')} of {among['sampled']:,} of them"
    row = f"\n| federated | {count(among['clients'], 'client')}, {turns}, {sent / 1e3:,.0f} kB sent per client |"
    if not (promised := among.get("privacy")):
        return row
    noise = f"noise multiplier {promised['noise']:.3g}, updates clipped to {promised['clip']:g}"
    return f"{row}\n| privacy of clients | ε = {promised['epsilon']:g} at δ = {promised['delta']:g}: {noise} |"


def _chosen(metadata: Mapping[str, Any], best: str) -> str:
    """Which of a training's weights these are."""
    if (metadata.get("federated") or {}).get("privacy"):
        return "The exported weights are the last ones: nothing was chosen by what clients would have had to tell."
    when = _best_update(metadata["provenance"])
    return f"The exported weights are those with the best {best} on *validation* tasks, not on test tasks{when}."


def _best_update(provenance: Mapping[str, Any]) -> str:
    """When the exported weights were there; policies trained before this was noted do not say."""
    return f": they were there after {count(update, 'update')}" if (update := provenance.get("best_update")) else ""


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        version = store.latest(argument)
        recorded = store.read_metadata(version) or {}
        adaptation_curve([recorded["evaluation"]], version.parent / "curve.png")
        print(write_card(version.parent, recorded, recorded["evaluation"]))
