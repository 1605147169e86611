"""The command line: parses, calls one function, prints. Heavy imports are inside the commands.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong. With ``--json`` standard output carries one JSON
document and nothing else; logs and progress go to standard error.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metazoo import __version__, savedmodels_directory
from metazoo.zoo.presets import PRESETS, Preset

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

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Seed = Annotated[int, typer.Option(help="Decides every random draw.")]
Models = Annotated[Path | None, typer.Option(help="Directory of models; the pretrained ones by default.")]


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
    from metazoo.store import StoreError
    from serving.errors import PortInUseError, ServingError

    if isinstance(error, ServingError):
        return WRONG_REQUEST if error.http_status < 500 else FAILED
    wrong = ValueError, FileNotFoundError, FileExistsError, NotADirectoryError, StoreError, PortInUseError
    return WRONG_REQUEST if isinstance(error, wrong) else FAILED


def sentence(error: Exception) -> str:
    """The error's message as one line; errors that are nobody's request keep their type's name."""
    message = " ".join(str(error).split()) or type(error).__name__
    return message if exit_code(error) == WRONG_REQUEST else f"{type(error).__name__}: {message}"


def _version(asked: bool) -> None:
    if asked:
        print(f"metazoo {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


@app.command("list")
def list_command(models: Models = None, as_json: Json = False) -> None:
    """The zoo: name, algorithm, family, return before and after adapting, size.

    \b
    metazoo list
    metazoo list --models adapted --json
    """
    from metazoo.zoo import index

    rows = index.entries(models or savedmodels_directory())
    if as_json:
        _print_json(rows)
    else:
        print(index.table(rows))


@app.command()
def train(
    names: Annotated[list[str] | None, typer.Argument(metavar="PRESET...", help=", ".join(PRESETS))] = None,
    all_presets: Annotated[bool, typer.Option("--all", help="Every preset.")] = False,
    out: Annotated[Path | None, typer.Option(help="Export as the next version under OUT/<preset>.")] = None,
    runs: Annotated[Path, typer.Option(help="Where checkpoints and TensorBoard logs go.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    seed: Annotated[int | None, typer.Option(help="The preset's own by default.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N,N,...", help="Several runs, one after another.")] = None,
    updates: Annotated[int | None, typer.Option(help="The preset's own by default.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the preset.")] = None,
) -> None:
    """Meta-train presets, and export them.

    \b
    metazoo train maml_cartpole_goal
    metazoo train maml_cartpole_goal --updates 100 --set inner_steps=2
    metazoo train maml_cartpole_goal --resume
    metazoo train maml_navigation --seeds 0,1,2
    metazoo train --all --out savedmodels
    """
    chosen = _presets(names or [], all_presets)
    overrides = _pairs(settings, "--set")
    if seed is not None and seeds is not None:
        raise ValueError("--seed and --seeds are both given: use one of them.")
    numbers = [seed] if seeds is None else _integers(seeds, "--seeds")

    from metazoo.zoo.train import train as run

    for preset in chosen:
        for number in numbers:
            directory = runs / preset.name if number is None else runs / f"{preset.name}-seed{number}"
            finished = run(
                preset, directory, seed=number, updates=updates, overrides=overrides, resume=resume, export_to=out
            )
            print(f"{preset.name}: finished in {finished}")


# --- helpers -------------------------------------------------------------------------------------------------------


def _presets(names: list[str], every: bool) -> list[Preset]:
    if every == bool(names):
        raise ValueError(f"name the presets to train, or give --all alone; there are {', '.join(PRESETS)}.")
    for name in names:
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}; choose from {', '.join(PRESETS)}.")
    return list(PRESETS.values()) if every else [PRESETS[name] for name in names]


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """``key=value`` arguments by key."""
    pairs = {}
    for item in given or []:
        key, equals, value = item.partition("=")
        if not (key and equals and value):
            raise ValueError(f"{option} is {item!r}; it must be KEY=VALUE.")
        pairs[key] = value
    return pairs


def _integers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{option} is {text!r}; it must be integers with commas between them, such as 0,1,2."
        ) from None


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, allow_nan=False))


@contextlib.contextmanager
def _stdout_is_for_json(as_json: bool) -> Iterator[None]:
    """Whatever the work prints goes to standard error, so that standard output is one document."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


if __name__ == "__main__":
    main()
