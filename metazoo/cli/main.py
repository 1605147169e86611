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
from metazoo.cli import places, policies, streams
from metazoo.cli import support as cli_support
from metazoo.cli import zoo as cli_zoo
from metazoo.cli.explain import explain
from metazoo.cli.export import export as export_command
from metazoo.cli.federate import federate
from metazoo.cli.find import find
from metazoo.cli.gallery import gallery
from metazoo.cli.new import new
from metazoo.cli.serve import serve
from metazoo.cli.similar import similar
from metazoo.cli.train import train
from metazoo.cli.tune import tune

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
READER_LEFT: Final = 141
"""What a shell says of ``cat`` and ``grep`` whose reader left (``| head -1``): 128 + SIGPIPE. Not 0, since something
was not shown; scripts under ``set -o pipefail`` know this number from all other programs."""
BENCHMARKS: Final = "learners", "families", "serving", "edge", "all"
MISSING: Final = FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError
BAD_PLACES: Final = errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS
"""Errors of the system about files that the user named."""

Json = cli_zoo.Json
Models = cli_zoo.Models
Family = cli_support.Family
FamilyArg = cli_support.FamilyArg


def main() -> None:
    """The program ``metazoo``."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", cli_support.QUIET)
    streams.prepare()
    debug = "--debug" in sys.argv
    sys.argv = cli_support.with_addresses([argument for argument in sys.argv if argument != "--debug"])
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
        return cli_support.INTERRUPTED
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


app.command()(train)
app.command()(tune)
app.command()(federate)
app.command("new")(new)
app.command()(policies.evaluate)
app.command()(policies.adapt)
app.command()(find)
app.command()(explain)
app.command()(similar)
app.command()(export_command)
app.command()(serve)
app.command()(gallery)


@app.command()
def bench(
    what: Annotated[
        str, typer.Argument(metavar="[WHAT]", help="learners, families, serving, edge, or all of them.")
    ] = "all",
    family: Family = None,
    family_arg: FamilyArg = None,
    as_json: Json = False,
) -> None:
    """Measure speed on one processor core.

    \b
    metazoo bench learners --json
    metazoo bench families --family my_robot:Altitude
    metazoo bench serving
    metazoo bench edge --json
    """
    if what not in BENCHMARKS:
        raise ValueError(f"there is no benchmark {what!r}; {words.meant(what, BENCHMARKS)}")
    arguments = cli_support.family_arguments(family, family_arg)
    if family is not None and what != "families":
        raise ValueError(f"--family is {family}; it goes with metazoo bench families.")
    with cli_support.stdout_is_for_json(as_json), progress.shown():
        cli_support.load_tensorflow()
        from metazoo import bench as benchmarks

        rows = benchmarks.run(what) if family is None else benchmarks.run_family(family, arguments)
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
