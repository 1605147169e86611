"""The command ``metazoo federate``: a preset among clients that keep their episodes."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from metazoo import progress
from metazoo.cli import options, places, support
from metazoo.cores import cores
from metazoo.federated.federation import STEPS
from metazoo.federated.simulate import require_flower, simulation

DELTA = 1e-3
XLA = ".xla"
"""Where programs of clients that were compiled are kept, in OUT."""


def federate(
    name: Annotated[str | None, typer.Argument(metavar="PRESET", help="metazoo train --help names them.")] = None,
    family: support.Family = None,
    family_arg: support.FamilyArg = None,
    algorithm: Annotated[str | None, typer.Option(metavar="NAME", help="With --family: maml, reptile, ...")] = None,
    clients: Annotated[int, options.whole(2, 100_000, help="Each has a slice of the tasks.")] = 32,
    rounds: Annotated[int, options.whole(1, 10**7, help="Of the federation.")] = 200,
    sampled: Annotated[int | None, options.whole(1, 100_000, help="Clients of a round; by default up to 20.")] = None,
    tasks: Annotated[
        int | None, options.whole(1, 10_000, help="Of a client in a round; by default as many in all as the preset.")
    ] = None,
    step: Annotated[str, options.choice(STEPS, help="How the server uses the clients' mean:")] = "adam",
    second_order: Annotated[bool, typer.Option("--second-order", help="Clients differentiate twice, as MAML.")] = False,
    dropout: Annotated[float, options.real(0, 1, help="Share of rounds that a client drops out of.")] = 0.0,
    epsilon: Annotated[float | None, options.real(0, 10**9, help="Differential privacy of clients.")] = None,
    delta: Annotated[float, options.real(0, 1, help="With --epsilon; below 1 / clients.")] = DELTA,
    clip: Annotated[float, options.real(0, 10**6, help="With --epsilon: longest update of a client.")] = 1.0,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the preset.")] = None,
    called: Annotated[str | None, typer.Option("--name", metavar="NAME", help="federated_PRESET by default.")] = None,
    out: Annotated[Path, typer.Option(help="Checkpoints, logs and the export go to OUT/<name>.")] = Path("runs"),
    export: Annotated[Path | None, typer.Option(help="Export to EXPORT/<name>/1 instead.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    seed: Annotated[int | None, options.seed(help="The preset's own by default.")] = None,
    workers: Annotated[
        int | None, options.whole(0, 1000, help="Clients at once; by default one a core. 0: one by one, without Ray.")
    ] = None,
    no_card: Annotated[bool, typer.Option("--no-card", help="Do not evaluate what was trained.")] = False,
) -> None:
    """Meta-train a preset among clients that never send an episode, in Flower's simulation engine on this machine.

    Each client has a slice of the family: a sector of goals, or a part of its first range. In a round some of them play
    their own tasks and send one update. Of maml, anil and meta_sgd it is a first-order meta-gradient (FedMeta), of
    reptile the mean of their inner loops (FedAvg), of domain_randomised a gradient without adaptation. The policy
    adapts to a new client by inner steps, as every policy of the zoo.

    \b
    metazoo federate maml_navigation --clients 32 --rounds 200
    metazoo federate maml_navigation --clients 32 --rounds 200 --resume
    metazoo federate reptile_navigation --step average
    metazoo federate maml_navigation --dropout 0.3 --name patchy_navigation
    metazoo federate maml_navigation --clients 256 --sampled 64 --tasks 1 --epsilon 20 --clip 0.5
    metazoo federate --family my_robot:MyRobot --algorithm maml --clients 8
    """
    arguments = support.family_arguments(family, family_arg)
    if (name is None) == (family is None) or (family is None) != (algorithm is None):
        raise ValueError("name a preset, or give --family MODULE:OBJECT with --algorithm NAME.")
    presets = support.presets([str(name)], False) if family is None else []
    changes = support.pairs(settings, "--set")
    require_flower()
    places.directory(out, "--out")
    places.directory(export, "--export")
    with progress.shown():
        support.load_tensorflow()
        from metazoo.cards.record import record
        from metazoo.federated.federation import federation_of
        from metazoo.federated.in_process import in_process
        from metazoo.federated.privacy import privacy_of
        from metazoo.federated.run import Options
        from metazoo.federated.run import federate as run
        from metazoo.training import own
        from metazoo.training.train import override

        if family is not None:
            of = own.introduce(family, arguments)
            presets = own.presets(of, [str(algorithm)], {}, twin=False)
        preset = override(presets[0], changes)
        federation = federation_of(
            preset,
            clients,
            rounds,
            sampled=sampled,
            tasks=tasks,
            step=step,
            dropout=dropout,
            private=epsilon is not None,
            seed=seed,
            second_order=second_order,
        )
        privacy = None if epsilon is None else privacy_of(federation, epsilon, delta, clip)
        how = Options(called or "", resume, export, _command())
        try:
            engine = in_process() if workers == 0 else simulation(workers or cores(), out / XLA)
            version = run(federation, out, engine, how, privacy)
        except KeyboardInterrupt:
            _leave()
        if not (version / "saved_model.pb").exists():
            raise typer.Exit(support.INTERRUPTED)
        if not no_card and not _recorded(version):
            record(version)
    print(version)


def _command() -> str:
    """As it was typed, without what only says where and how far."""
    words, kept = list(sys.argv[1:]), []
    while words:
        word = words.pop(0)
        if word in ("--out", "--export", "--workers"):
            words = words[1:]
        elif word not in ("--resume", "--no-card") and not word.startswith(("--out=", "--export=", "--workers=")):
            kept.append(word)
    return shlex.join(["metazoo", *kept])


def _recorded(version: Path) -> bool:
    from metazoo.artefact import store

    metadata: dict[str, Any] = store.read_metadata(version) or {}
    return bool(metadata.get("evaluation"))


def _leave() -> None:
    """At the second Ctrl-C: the engine's threads wait for clients, and nothing is to be saved that is not."""
    progress.say("Stopped at once; --resume goes on from the last checkpoint.")
    sys.stderr.flush()
    os._exit(support.INTERRUPTED)
