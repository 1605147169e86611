"""The command line: parses, calls one function, prints. Heavy imports are inside the commands.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 141 the reader of the output left. With ``--json``
standard output carries one JSON document and nothing else; logs and progress go to standard error.
"""

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metazoo import __version__, progress, words
from metazoo.artefact.places import savedmodels_directory
from metazoo.cli import options as cli_options
from metazoo.cli import places, policies, streams
from metazoo.cli import support as cli_support
from metazoo.cli import zoo as cli_zoo
from metazoo.cli.export import export as export_command
from metazoo.cli.serve import serve
from metazoo.cli.tune import tune
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
READER_LEFT: Final = 141
"""What a shell says of ``cat`` and ``grep`` whose reader left (``| head -1``): 128 + SIGPIPE. Not 0, since something
was not shown; scripts under ``set -o pipefail`` know this number from all other programs."""
BENCHMARKS: Final = "learners", "families", "serving", "edge", "all"
MISSING: Final = FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError
BAD_PLACES: Final = errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS
"""Errors of the system about files that the user named."""

Json = cli_zoo.Json
Models = cli_zoo.Models


def main() -> None:
    """The program ``metazoo``."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    streams.prepare()
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    code = _run(debug)
    try:
        streams.finish()
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # whoever closed it knows
            code = code or READER_LEFT
        else:
            code = code or FAILED
            progress.say(f"metazoo: standard output cannot be written: {error.strerror}.")
    sys.exit(code)


def _run(debug: bool) -> Any:
    """Runs the command; the exit code."""
    try:
        return app(standalone_mode=False) or DONE
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # Typer was faster than the clause below
            return READER_LEFT
        return DONE if stop.code is None else stop.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has enough
        streams.abandon(sys.stdout.fileno())
        return READER_LEFT
    except Exception as error:
        if show := getattr(error, "show", None):  # Typer's own, of words that are no options
            with contextlib.suppress(OSError):
                show()
            return WRONG_REQUEST
        if debug:
            raise
        if isinstance(error, places.PlaceError) and "--json" not in sys.argv:
            print("Nothing was computed.")  # where figures are expected
        progress.say(f"metazoo: {sentence(error)}")
        return exit_code(error)


def exit_code(error: Exception) -> int:
    """2 where the request was wrong, 1 where the work failed."""
    from metazoo.artefact.store import StoreError
    from serving.errors import PortInUseError, ServingError

    if isinstance(error, ServingError):
        return WRONG_REQUEST if error.http_status < 500 else FAILED
    if isinstance(error, OSError) and error.errno in BAD_PLACES:
        return WRONG_REQUEST
    return WRONG_REQUEST if isinstance(error, (ValueError, StoreError, PortInUseError, *MISSING)) else FAILED


def sentence(error: Exception) -> str:
    """The error's message as one line; errors that are not ours keep their type's name."""
    from metazoo.hub.sources import HubError

    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        message = f"{os.fspath(error.filename)!s}: {error.strerror}."
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
    directories = [(out, seed)] if numbers is None else [(out / f"seed-{number}", number) for number in numbers]
    places.directory(out, "--out")
    places.directory(export, "--export")
    with progress.shown():
        cli_support.load_tensorflow()
        from metazoo.training.campaign import Options, Run, train_all

        runs = [Run(preset, directory, number) for preset in chosen for directory, number in directories]
        going_on = resume or (all_presets and any(run.begun for run in runs))
        options = Options(updates, overrides, export, going_on, card=not no_card, keep_going=all_presets, jobs=jobs)
        finished = train_all(runs, out, options)
    if not finished:
        raise typer.Exit(INTERRUPTED)


app.command()(tune)
app.command()(policies.evaluate)
app.command()(policies.adapt)
app.command()(export_command)
app.command()(serve)


@app.command()
def bench(
    what: Annotated[
        str, typer.Argument(metavar="[WHAT]", help="learners, families, serving, edge, or all of them.")
    ] = "all",
    as_json: Json = False,
) -> None:
    """Measure speed on one processor core.

    \b
    metazoo bench learners --json
    metazoo bench serving
    metazoo bench edge --json
    """
    if what not in BENCHMARKS:
        raise ValueError(f"there is no benchmark {what!r}; {words.meant(what, BENCHMARKS)}")
    with cli_support.stdout_is_for_json(as_json), progress.shown():
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
    places.directory(out, "--out")
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
