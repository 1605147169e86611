"""The command line: parses, calls one function, prints. Heavy imports are inside the commands.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong. With ``--json`` standard output carries one JSON
document and nothing else; logs and progress go to standard error.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metazoo import __version__, savedmodels_directory
from metazoo.cli import options as cli_options
from metazoo.cli import support as cli_support
from metazoo.cli import zoo as cli_zoo
from metazoo.cli.serve import serve
from metazoo.presets.registry import PRESETS

app = typer.Typer(
    name="metazoo",
    help="Pretrained meta-policies for TensorFlow: adapt one to your environment in a few episodes, and serve it.",
    epilog="metazoo COMMAND --help shows examples. --debug, anywhere, shows the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DONE: Final = 0
FAILED: Final = 1
WRONG_REQUEST: Final = 2
INTERRUPTED: Final = 130
TEST_SEED: Final = 10_000
"""Added to --seed for the episodes that measure a return, which are others than those adapted with."""

Json = cli_zoo.Json
Models = cli_zoo.Models
Episodes = Annotated[int | None, cli_options.whole(1, 10**4, help="A step; as trained by default.")]
Seed = Annotated[int, cli_options.seed(help="Decides every random draw.")]


def main() -> None:
    """The program ``metazoo``."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        print(f"metazoo: {sentence(error)}", file=sys.stderr)
        sys.exit(exit_code(error))


def exit_code(error: Exception) -> int:
    """2 where the request was wrong, 1 where the work failed."""
    from metazoo.artefact.store import StoreError
    from serving.errors import PortInUseError, ServingError

    if isinstance(error, ServingError):
        return WRONG_REQUEST if error.http_status < 500 else FAILED
    wrong = ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, StoreError, PortInUseError
    return WRONG_REQUEST if isinstance(error, wrong) else FAILED


def sentence(error: Exception) -> str:
    """The error's message as one line; errors that are not ours keep their type's name."""
    from metazoo.hub.sources import HubError

    message = " ".join(str(error).split()) or type(error).__name__
    ours = exit_code(error) == WRONG_REQUEST or isinstance(error, HubError)
    return message if ours else f"{type(error).__name__}: {message}"


def _version(asked: bool) -> None:
    if asked:
        print(f"metazoo {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


app.command("list")(cli_zoo.list_command)
app.command()(cli_zoo.card)
app.command()(cli_zoo.download)
app.command()(cli_zoo.push)


@app.command()
def train(
    names: Annotated[list[str] | None, typer.Argument(metavar="PRESET...", help=", ".join(PRESETS))] = None,
    all_presets: Annotated[bool, typer.Option("--all", help="Every preset; goes on by itself.")] = False,
    out: Annotated[Path, typer.Option(help="Checkpoints, logs and the export go to OUT/<preset>.")] = Path("runs"),
    export: Annotated[Path | None, typer.Option(help="Export to EXPORT/<preset>/1 instead.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    seed: Annotated[int | None, cli_options.seed(help="The preset's own by default.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N,N,...", help="One run for each, in OUT/seed-N.")] = None,
    updates: Annotated[int | None, cli_options.whole(1, 10**7, help="The preset's own by default.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the preset.")] = None,
    no_card: Annotated[bool, typer.Option("--no-card", help="Do not evaluate what was trained.")] = False,
    jobs: Annotated[int, cli_options.whole(1, 1000, help="Trainings at once; the cores are shared out.")] = 1,
) -> None:
    """Meta-train presets, export them, and write their model cards.

    --all goes on where it was left: it skips what is finished and writes OUT/summary.md. Without the extra mujoco it
    leaves out the presets that need it.

    \b
    metazoo train maml_cartpole_goal
    metazoo train maml_cartpole_goal --updates 100 --set inner_steps=2
    metazoo train maml_cartpole_goal --resume
    metazoo train maml_navigation --seeds 0,1,2
    metazoo train --all --jobs 2 --export models
    """
    chosen = cli_support.presets(names or [], all_presets)
    overrides = cli_support.pairs(settings, "--set")
    if seeds is not None and (seed is not None or export is not None):
        raise ValueError(f"--seeds is {seeds!r}; it cannot be combined with --seed or --export.")
    numbers = None if seeds is None else cli_support.seeds(seeds, "--seeds")
    places = [(out, seed)] if numbers is None else [(out / f"seed-{number}", number) for number in numbers]

    cli_support.load_tensorflow()
    from metazoo.training.campaign import Options, Run, train_all

    runs = [Run(preset, directory, number) for preset in chosen for directory, number in places]
    going_on = resume or (all_presets and any(run.begun for run in runs))
    options = Options(updates, overrides, export, going_on, card=not no_card, keep_going=all_presets, jobs=jobs)
    if not train_all(runs, out, options):
        raise typer.Exit(INTERRUPTED)


@app.command()
def evaluate(
    names: Annotated[list[str], typer.Argument(metavar="NAME|DIR...", help="Policies; evaluated on the same tasks.")],
    split: Annotated[str, typer.Option(help="validation, test or ood.")] = "test",
    tasks: Annotated[int | None, cli_options.whole(2, 10**5, help="As on its card by default, mostly 200.")] = None,
    episodes: Episodes = None,
    steps: Annotated[int | None, cli_options.whole(0, 100, help="Rounds of adaptation; as trained by default.")] = None,
    seed: Seed = 0,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Modes instead of samples.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the adaptation curves into this file.")] = None,
    video: Annotated[Path | None, typer.Option(help="Film a task before and after adapting into this .gif.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the figures into metadata and model card.")] = False,
    runs: Annotated[Path | None, typer.Option(help="With --record: trained there with --seeds; on the card.")] = None,
    as_json: Json = False,
) -> None:
    """Return before and after adapting, on tasks of the policy's family that it was not trained on.

    \b
    metazoo evaluate maml_cartpole_goal
    metazoo evaluate maml_cartpole_goal --steps 5 --plot curve.png
    metazoo evaluate maml_cartpole_goal --video adapting.gif
    metazoo evaluate maml_navigation --record --runs runs
    metazoo evaluate runs/maml_navigation/savedmodels/maml_navigation --split ood --json
    """
    if runs is not None and not record:
        raise ValueError(f"--runs is {runs}; it needs --record.")
    if video is not None and len(names) > 1:
        raise ValueError(f"--video is {video}; it films one policy, and {len(names)} are given.")
    with cli_support.stdout_is_for_json(as_json):
        cli_support.load_tensorflow()
        from metazoo.cards.report import evaluate_preset

        options: dict[str, Any] = {"split": split, "tasks": tasks, "episodes": episodes, "steps": steps, "seed": seed}
        if record:
            from metazoo.cards import report as recorder
            from metazoo.cards import seeds
            from metazoo.hub.transfer import find

            _only_defaults(**options, deterministic=deterministic)
            found = {name: find(name) for name in names}
            trained = {name: seeds.exports(runs, at.parent.name) if runs else None for name, at in found.items()}
            reports = [recorder.record(at, trained[name]) for name, at in found.items()]
        else:
            reports = [evaluate_preset(name, **options, deterministic=deterministic) for name in names]
        if plot is not None:
            from metazoo.cards.plots import adaptation_curve

            adaptation_curve(reports, plot)
        if video is not None:
            from metazoo.cards.video import film

            film(names[0], video, split=split, episodes=episodes, steps=steps, seed=seed)
    if as_json:
        cli_support.print_json(reports[0] if len(reports) == 1 else reports)
        return
    for report in reports:
        cli_support.print_report(report)


def _only_defaults(**options: Any) -> None:
    """Cards hold one protocol, so that they can be compared."""
    usual = {"split": "test", "tasks": None, "episodes": None, "steps": None, "seed": 0, "deterministic": False}
    for name, value in options.items():
        if value != usual[name]:
            raise ValueError(f"--{name} is {value}; --record takes the standard protocol, so leave it out.")


@app.command()
def adapt(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="The policy to start from.")],
    env: Annotated[str | None, typer.Option(metavar="ID", help="A Gymnasium environment.")] = None,
    env_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument or attribute.")] = None,
    task: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A task of its own family.")] = None,
    episodes_file: Annotated[Path | None, typer.Option(help="Recorded episodes, .npz; allows one step.")] = None,
    episodes: Episodes = None,
    steps: Annotated[int | None, cli_options.whole(1, 100, help="Each on fresh ones; as trained by default.")] = None,
    test_episodes: Annotated[int, cli_options.whole(1, 10**5, help="Episodes to measure the return with.")] = 20,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Publish under OUT.")] = None,
    as_json: Json = False,
) -> None:
    """Adapt a policy to an environment, to a task of its family, or on recorded episodes; publish it with --out.

    \b
    metazoo adapt maml_cartpole --env CartPole-v1 --env-arg length=0.8 --env-arg force_mag=-9 --out adapted
    metazoo adapt maml_cartpole_goal --task target=1.2 --steps 3 --json
    metazoo adapt maml_cartpole --episodes-file episodes.npz --out adapted
    """
    if (env is not None) + bool(task) + (episodes_file is not None) != 1:
        raise ValueError("give one of --env ID, --task KEY=VALUE and --episodes-file FILE.")
    if env_arg and env is None:
        raise ValueError(f"--env-arg is {env_arg[0]!r}; it needs --env ID.")
    env_arguments, parameters = cli_support.pairs(env_arg, "--env-arg"), cli_support.pairs(task, "--task")
    with cli_support.stdout_is_for_json(as_json):
        cli_support.load_tensorflow()
        import metazoo
        from metazoo.collect import load_episodes
        from metazoo.tasks.views import make as gym_make

        policy = metazoo.load(name)
        if episodes_file is not None:
            target, label = load_episodes(episodes_file, policy.metadata), episodes_file.stem
        elif env is not None:
            target, label = gym_make.make(env, env_arguments), env.rpartition(":")[2].rpartition("/")[2]
        else:
            target, label = gym_make.make_task(policy.metadata, parameters), policy.metadata["family"]
        adapted = policy.adapt(target, episodes=episodes, steps=steps, seed=seed)
        made = adapted.metadata["adapted"]
        result: dict[str, Any] = {"name": policy.name, "version": policy.version, **made}
        if episodes_file is None:
            for key, one in (("before", policy), ("after", adapted)):
                returns = one.evaluate(target, episodes=test_episodes, seed=TEST_SEED + seed)
                result[key] = cli_support.mean_and_interval(returns)
        result["published"] = None if out is None else str(adapted.publish(out, task=cli_support.task_name(label)))
    cli_support.print_json(result) if as_json else cli_support.print_adapted(result)


app.command()(serve)


@app.command()
def bench(
    what: Annotated[str, typer.Argument(metavar="[WHAT]", help="learners, families, serving, or all of them.")] = "all",
    as_json: Json = False,
) -> None:
    """Measure speed on one processor core.

    \b
    metazoo bench learners --json
    metazoo bench serving
    """
    with cli_support.stdout_is_for_json(as_json):
        cli_support.load_tensorflow()
        from metazoo import bench as benchmarks

        rows = benchmarks.run(what)
    cli_support.print_json(rows) if as_json else cli_support.print_bench(rows)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="For the adapted policies and the picture.")] = Path("demo"),
    models: Models = None,
) -> None:
    """Adapt a pretrained policy to CartPoles it has never seen, through a server, in one minute.

    \b
    metazoo demo
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else its remarks about the processor stand among the results
    cli_support.load_tensorflow()
    from metazoo.demo import main as main_job

    start = time.perf_counter()
    report = main_job.run(models or savedmodels_directory(), out)
    main_job.draw(report, out / "positions.png")
    main_job.show(report, out / "positions.png", time.perf_counter() - start)
    if not report.improved:
        raise typer.Exit(FAILED)


if __name__ == "__main__":
    main()
