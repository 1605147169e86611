"""A federation from its run directory to an exported policy, however its rounds are made."""

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from metazoo import progress
from metazoo.federated.federation import Federation
from metazoo.federated.privacy import Privacy
from metazoo.federated.server import Server
from metazoo.federated.slices import slices_of
from metazoo.presets.preset import evaluate_command
from metazoo.presets.registry import PRESETS
from metazoo.training.export import export
from metazoo.training.train import begin, version_of
from metazoo.words import count

PREFIX: Final = "federated_"


class Options(NamedTuple):
    """``name`` is the policy's; ``command`` is what its card says made it."""

    name: str = ""
    resume: bool = False
    export_to: Path | None = None
    command: str = ""


def federate(
    federation: Federation,
    out: Path,
    rounds: Callable[[Server], bool],
    options: Options,
    privacy: Privacy | None = None,
) -> Path:
    """Trains in ``out/<name>``, and exports to ``<export_to or run directory/savedmodels>/<name>/1``.

    ``rounds(server)`` makes those that are left, and says whether they were all made. The run directory holds
    ``run.json``, ``rounds.csv`` and checkpoints. Killed at any moment it goes on with ``resume`` and ends with the same
    weights; with privacy the noise is another one.

    Returns:
        The exported version directory, or the run directory when it was interrupted.

    Raises:
        ValueError: nothing to resume, another federation's run, or a family with too few different tasks.
        FileExistsError: the directory holds a run or the export exists, and ``resume`` is False.
        FederationError: clients are missing, or all of a round failed.
    """
    name = options.name or f"{PREFIX}{federation.preset.name}"
    if name in PRESETS:
        raise ValueError(f"the zoo has a policy {name!r} that was trained otherwise; choose another name.")
    run = Path(out) / name
    target = version_of(run, name, options.export_to)
    if target.exists() and not options.resume:
        raise FileExistsError(f"{target} exists already; move it away or choose another --export directory.")
    begin(run, {"federation": federation.as_settings(), "privacy": privacy and privacy._asdict()}, options.resume)
    if target.exists():
        return target
    server = Server(federation, run, privacy, options.resume)
    slices_of(server.learner.family, federation.clients)  # what cannot be cut is said before anything is started
    if not rounds(server):
        made = f"{server.done} of {count(federation.rounds, 'round')}"
        progress.say(f"Interrupted after {made}; --resume goes on from there.")
        return run
    server.checkpoints.load_best()  # with privacy nothing was validated, and the last weights stay
    with progress.stage(f"{name}, exporting"):
        return export(server.learner, target, metadata_of(server, name, run, options.command))


def metadata_of(server: Server, name: str, run: Path, command: str) -> dict[str, Any]:
    """The export's entries that the learner does not know."""
    federation, preset = server.federation, server.federation.preset
    return {
        "name": name,
        "family_args": preset.family_args,
        **({"family_from": preset.family_from} if preset.family_from else {}),
        "description": f"{preset.description}, trained among {federation.clients} clients that keep their episodes",
        "baselines": [preset.name, *preset.baselines],
        "adapt": {"episodes": preset.episodes, "steps": preset.steps, "tasks": preset.evaluation_tasks},
        "network": preset.network,
        "provenance": _provenance(server, name, run, command),
        "federated": _federated(server),
        "evaluation": {},
    }


def _federated(server: Server) -> dict[str, Any]:
    """How it was trained among clients, and what was sent."""
    federation, sums = server.federation, server.sums
    shares = ("clients", "sampled", "rounds", "tasks", "step", "dropout")
    return {
        **{name: getattr(federation, name) for name in shares},
        "lost": sums.lost,
        "refused": sums.refused,
        "bytes_down": sums.bytes_down,
        "bytes_up": sums.bytes_up,
        "privacy": server.privacy and server.privacy._asdict(),
    }


def _provenance(server: Server, name: str, run: Path, command: str) -> dict[str, Any]:
    """As of a central training: an update is a round, and environment steps are those of the updates that arrived."""
    federation, checkpoints = server.federation, server.checkpoints
    begun = json.loads((run / "run.json").read_text())
    return {
        "command": command or shlex.join(["metazoo", "federate", federation.preset.name]),
        "evaluate_command": evaluate_command(name, federation.preset.evaluation_tasks),
        "seed": federation.seed,
        "updates": federation.rounds,
        "env_steps": server.sums.received * server.learner.env_steps_per_update,
        "best_update": checkpoints.best_update,
        "seconds": round(checkpoints.seconds, 1),
        "versions": {**begun["versions"], "flwr": version("flwr")},
        "hardware": begun["hardware"],
        "date": datetime.now(UTC).date().isoformat(),
    }
