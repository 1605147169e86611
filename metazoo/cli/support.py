"""What the commands share: reading arguments, printing JSON documents and reports."""

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metazoo import progress
from metazoo.cli import options as cli_options
from metazoo.presets.images import OMNIGLOT_PRESETS
from metazoo.presets.metaworld import METAWORLD_PRESETS
from metazoo.presets.mujoco import MUJOCO_PRESETS
from metazoo.presets.registry import PRESETS, Preset
from metazoo.tasks.images import archives
from metazoo.words import count, meant

INTERRUPTED: Final = 130
QUIET: Final = "3"
"""TensorFlow's C++ logs nothing but what ends the program: its errors come as exceptions, too, and processors without
AVX-512 would be complained of whenever a policy with discrete actions adapts."""
LOCAL: Final = "local"
"""What ``--ray`` stands for without an address."""

Family = Annotated[
    str | None, typer.Option(metavar="MODULE:OBJECT|FILE.py:OBJECT", help="A family of your own: see docs.")
]
Ray = Annotated[
    str | None, typer.Option(metavar="[ADDRESS]", help="On a Ray cluster: HOST:PORT, auto, or one on this machine.")
]
FamilyArg = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument of that family.")]


def presets(names: list[str], every: bool) -> list[Preset]:
    """The presets of these names, or every one that can be trained here.

    Raises ValueError for an unknown name, or if neither is asked for.
    """
    if every == bool(names):
        raise ValueError("name the presets to train, or give --all alone; metazoo train --help names them.")
    for name in names:
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}; {meant(name, PRESETS, 'metazoo train --help names them')}")
    return _trainable() if every else [PRESETS[name] for name in names]


def _trainable() -> list[Preset]:
    """Every preset; without MuJoCo, Meta-World or images all but those that need them, which stderr says."""
    without = {
        "pip install 'metazoo[mujoco]'": [] if importlib.util.find_spec("mujoco") else MUJOCO_PRESETS,
        "pip install 'metazoo[metaworld]'": [] if importlib.util.find_spec("metaworld") else METAWORLD_PRESETS,
        "metazoo download --data omniglot": [] if archives.here() else OMNIGLOT_PRESETS,
    }
    left_out = {need: [one.name for one in presets if one.name in PRESETS] for need, presets in without.items()}
    for need, names in left_out.items():
        if names:
            print(f"Left out, as they need {need}: {', '.join(names)}.", file=sys.stderr)
    return [preset for name, preset in PRESETS.items() if not any(name in names for names in left_out.values())]


def family_arguments(family: str | None, given: list[str] | None) -> dict[str, Any]:
    """``--family-arg`` as values: JSON, and what is not JSON is a string. Raises ValueError without ``--family``."""
    if given and family is None:
        raise ValueError(f"--family-arg is {given[0]!r}; it needs --family.")
    return {key: _value(text) for key, text in pairs(given, "--family-arg").items()}


def give_family(reference: str | None, arguments: dict[str, Any], versions: list[Path], record: bool) -> None:
    """The policies in ``versions`` are of the family at ``reference`` from now on, if any; ``record`` keeps that.

    Raises ValueError where its spaces are not theirs, or where another family's figures would be recorded.
    """
    from metazoo.artefact import store
    from metazoo.artefact.spaces import space_to_metadata
    from metazoo.tasks import own
    from metazoo.tasks.views.gym_view import gym_spaces_of

    if reference is None:
        return
    for version in versions:
        metadata = store.read_metadata(version) or {}
        theirs = arguments or (metadata.get("family_args", {}) if metadata.get("family_from") else {})
        family = own.made_from(reference, theirs)
        names = "observation_space", "action_space"
        for name, space in zip(names, map(space_to_metadata, gym_spaces_of(family)), strict=True):
            if space != metadata[name]:
                raise ValueError(
                    f"{reference} has another {name} than {metadata['name']}: {space}, not {metadata[name]}."
                )
        if record and family.name != metadata["family"]:
            raise ValueError(f"{reference} is the family {family.name!r}; --record is for that of {metadata['name']}.")
        own.give(metadata["family"], reference, arguments=theirs)
        if record and metadata.get("family_from", reference) != reference:
            store.replace_metadata(version, {**metadata, "family_from": reference})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def require_cluster(address: str) -> None:
    """Raises ValueError where Ray is not installed, or nobody answers at the address."""
    from metazoo.distributed import connect

    connect.check(address)


def with_addresses(words: list[str]) -> list[str]:
    """A command line whose ``--ray`` has an address: that of a cluster on this machine, where none was given."""
    return [
        f"{word}={LOCAL}" if word == "--ray" and not _is_address(following) else word
        for word, following in zip(words, [*words[1:], ""], strict=True)
    ]


def _is_address(word: str) -> bool:
    """Whether it can be nothing else: a preset or a file may follow ``--ray`` as well."""
    return word in (LOCAL, "auto") or ":" in word and not word.startswith("-")


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """``key=value`` arguments by key. Raises ValueError for what is not that."""
    pairs = {}
    for item in given or []:
        key, equals, value = item.partition("=")
        if not (key and equals and value):
            raise ValueError(f"{option} is {item!r}; it must be KEY=VALUE.")
        pairs[key] = value
    return pairs


def seeds(text: str, option: str) -> list[int]:
    """Seeds with commas between them. Raises ValueError."""
    try:
        return [cli_options.number(part, option, int, 0, cli_options.MAX_SEED) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{option} is {text!r}; it must be integers from 0 to {cli_options.MAX_SEED:,} with commas between them,"
            " such as 0,1,2."
        ) from None


def task_name(label: str) -> str:
    """The label as part of a model's name."""
    from metazoo.artefact import lineage

    return lineage.task_name_of(label)


def print_json(document: Any) -> None:
    """One JSON document on standard output. Raises ValueError for NaN and infinity, which JSON has not."""
    print(json.dumps(document, indent=2, allow_nan=False))


@contextlib.contextmanager
def stdout_is_for_json(as_json: bool) -> Iterator[None]:
    """Whatever the work prints goes to standard error, so that standard output is one document."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def print_adapted(result: Mapping[str, Any]) -> None:
    """What ``metazoo adapt`` did."""
    print(f"{result['name']}, {count(result['steps'], 'step')} of {count(result['last_episodes'], 'episode')}")
    said = result.get("diagnostics", {})
    if "log_prob" in said:
        found, expected = said["log_prob"], said["expected_log_prob"]
        print(f"log-probability of the actions {found:.3g} a step; of its own samples {expected:.3g}")
    if kept := result.get("kept"):
        means = f"{kept['before']['mean']:.1f} before and {kept['after']['mean']:.1f} after"
        print(f"kept as it was {kept['which']} adapting: {means}, in {count(kept['episodes'], 'held-out episode')}")
    for key in ("before", "after"):
        if key in result:
            low, high = result[key]["ci95"]
            mean, played = result[key]["mean"], result[key]["episodes"]
            print(f"{key:6}  return {mean:7.1f}  [{low:.1f}, {high:.1f}]  {count(played, 'episode')}")
    print(f"published {result['published']}" if result["published"] else "not published: --out DIR does that")


def print_report(report: Mapping[str, Any]) -> None:
    """What ``metazoo evaluate`` found: the curve over steps, then the baselines."""
    print(f"{report['name']}: {report['metric']} on {report['tasks']} {report['split']} tasks, seed {report['seed']}")
    online = report.get("online", False)
    lines = [
        (f"in episode {p['episodes'] + 1}" if online else f"after {count(p['steps'], 'step')}, {_used(p, report)}", p)
        for p in report["curve"]
    ]
    lines += [(_label(one), one) for one in report["curve"][-1].get("by_task", [])]
    if online and len(lines) > 1:
        lines.append(("in the whole trial", report["total"]))
    for label, one in [*lines, *report["baselines"].items()]:
        low, high = one.get("ci95", (None, None))
        interval = "exact" if low is None else f"[{low:.2f}, {high:.2f}]"
        print(f"  {label:28} {one['mean']:8.2f}  {interval:20}{_iqm(one)}{_success(one)}".rstrip())
    for line in _tail(report["curve"][-1]):
        print(line)


def _success(point: Mapping[str, Any]) -> str:
    """The rate of episodes that reached their goal, where it is known."""
    if "success" not in point:
        return ""
    low, high = (100 * end for end in point["success"]["ci95"])
    return f"  success {100 * point['success']['mean']:.0f} % [{low:.0f}, {high:.0f}]"


def _tail(last: Mapping[str, Any]) -> list[str]:
    """How the worst tasks did at the curve's last point, and how many were worse there than at its first."""
    if "cvar10" not in last:
        return []
    low, high = last["cvar10_ci95"]
    lines = [f"  {'the worst tenth, at the end':28} {last['cvar10']:8.2f}  [{low:.2f}, {high:.2f}]"]
    if gain := last.get("gain"):
        low, high = (100 * end for end in gain["worse_ci95"])
        share = 100 * gain["worse"]
        lines.append(f"  {'tasks worse than at first':28} {share:8.1f}  [{low:.1f}, {high:.1f}] %")
    return lines


def _used(point: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """What of the new task the policy had seen: examples, or episodes."""
    if report["metric"] != "return":
        return count(point["episodes"] * report["horizon"], "point" if report["metric"] == "mse" else "example")
    return count(point["episodes"], "episode")


def _label(one: Mapping[str, Any]) -> str:
    """One of few distinct tasks, with how often it was played."""
    values = {name: value if isinstance(value, str) else f"{value:g}" for name, value in one["task"].items()}
    return f"  {', '.join(f'{name} {value}' for name, value in values.items())} ({one['tasks']} tasks)"


def _iqm(one: Mapping[str, Any]) -> str:
    """The interquartile mean with its interval, which a closed form has not."""
    if "iqm" not in one:
        return ""
    low, high = one["iqm_ci95"]
    return f"  IQM {one['iqm']:8.2f}  [{low:.2f}, {high:.2f}]"


def print_bench(rows: list[dict[str, Any]]) -> None:
    """One line for each measurement."""
    for row in rows:
        figures = [f"{row[key]:>12,.0f} {unit}" for key, unit in RATES.items() if key in row]
        figures += [f"{row[key]:8.3f} ms {key[:3]}" for key in ("p50_ms", "p99_ms") if key in row]
        figures += [f"{row['ratio']:6.1f} × faster"] if "ratio" in row else []
        figures += [f"{row['resident_mb']:.0f} MB"] if "resident_mb" in row else []
        print(f"{row['what']:24} {'  '.join(figures)}   {row['config']}")


def curl_example(server: Any) -> str:
    """A shell command that asks a ``serving.server.Server`` for an action, if one of its policies answers ``act``."""
    for servable in server.manager.live():
        space = (servable.metadata or {}).get("observation_space", {})
        if servable.metadata and not servable.metadata["memory"]["online"] and space.get("type") == "Box":
            import numpy as np

            body = {"signature_name": "act", "inputs": {"observations": np.zeros([1, *space["shape"]]).tolist()}}
            return f"      curl {server.url}/v1/models/{servable.name}:predict -d '{json.dumps(body)}'\n"
    return ""


def load_tensorflow() -> None:
    """Import TensorFlow without its warnings of functions that are traced again, and without the lines about CPUs and
    GPUs that its C++ writes whatever the log level is.

    Both are shown if TF_CPP_MIN_LOG_LEVEL is 0.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", QUIET) == "0" or "tensorflow" in sys.modules:
        return
    with progress.native_log_hidden():
        import tensorflow as tf

        tf.config.list_physical_devices()
    # evaluating several policies compiles the same lines of ours for each, as it must
    tf.get_logger().addFilter(lambda record: "tf.function retracing" not in record.getMessage())


RATES = {"env_steps_per_s": "env steps/s", "requests_per_s": "requests/s"}
