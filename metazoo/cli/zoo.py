"""The commands about the zoo itself: ``metazoo list``, ``card``, ``download`` and ``push``. None needs TensorFlow,
but what gets images to train on."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from metazoo import progress
from metazoo.artefact.places import savedmodels_directory
from metazoo.cli import options, places
from metazoo.cli import support as cli_support
from metazoo.words import count

KINDS: Final = "savedmodel", "litert"
DATA: Final = "glyphs", "omniglot"
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Models = Annotated[Path | None, typer.Option(help="Directory of models; the pretrained ones by default.")]
Zoo = Annotated[str | None, typer.Option("--from", metavar="DIR|https://...|hf://ORG/REPO", help="Another zoo.")]


def list_command(models: Models = None, zoo: Zoo = None, as_json: Json = False) -> None:
    """The zoo: name, algorithm, family, return before and after adapting, size.

    \b
    metazoo list
    metazoo list --models adapted --json
    metazoo list --from hf://ORG/REPO
    """
    from metazoo.hub import listing

    if zoo is None:
        rows = listing.entries(models or savedmodels_directory())
    elif models is None:
        from metazoo.hub import index, sources

        rows = index.rows(sources.parse(zoo).index())
    else:
        raise ValueError(f"--models is {models} and --from is {zoo!r}; give one of them.")
    if as_json:
        cli_support.print_json(rows)
    else:
        print(listing.table(rows))


def card(
    name: Annotated[str | None, typer.Argument(metavar="NAME|DIR", help="A policy.")] = None,
    family: cli_support.Family = None,
    family_arg: cli_support.FamilyArg = None,
    as_json: Json = False,
) -> None:
    """The model card of a policy, with --json its whole metadata; or of a family of your own, and how to train on it.

    \b
    metazoo card maml_cartpole_goal
    metazoo card --family my_robot:Altitude
    """
    arguments = cli_support.family_arguments(family, family_arg)
    if (name is None) == (family is None):
        raise ValueError("give the name of a policy, or --family MODULE:OBJECT.")
    if family is not None:
        cli_support.load_tensorflow()
        from metazoo.cards import family as family_card

        about = family_card.describe(family, arguments)
        cli_support.print_json(about) if as_json else print(family_card.text(about))
        return
    from metazoo.artefact import store
    from metazoo.hub import listing
    from metazoo.hub import transfer as hub

    version = hub.find(str(name))
    if as_json:
        cli_support.print_json(store.read_metadata(version))
    else:
        print(listing.card(version))


def download(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME|ADDRESS...", help="Policies of that zoo, or anywhere.")
    ] = None,
    zoo: Zoo = None,
    to: Annotated[Path | None, typer.Option(help="Into TO/<name>; else where metazoo.load finds them.")] = None,
    kind: Annotated[str, options.choice(KINDS, param_decls=("--format",), help="Of a device's, one file.")] = KINDS[0],
    data: Annotated[str | None, options.choice(DATA, help="Images to train on, instead of policies:")] = None,
) -> None:
    """Download policies from a zoo, or images to train on; each is checked, and then there as a whole.

    An address says the zoo and the name at once. Names without --from come from the zoo that METAZOO_HUB names, else
    from those that came along.

    \b
    metazoo download hf://ORG/REPO/maml_cartpole
    metazoo download maml_cartpole --from hf://ORG/REPO
    metazoo download maml_cartpole rl2_mdp_n10 --from https://example.org/zoo --to models
    metazoo download maml_cartpole --to models
    metazoo download maml_cartpole --format litert
    metazoo download --data omniglot
    metazoo download --data glyphs

    The images of glyphs are drawn here, from a font that came along.
    """
    if bool(names) == bool(data):
        raise ValueError(f"give the names of policies, or --data {' or '.join(DATA)} alone.")
    if data:
        _download_data(data)
        return
    from metazoo.hub import sources
    from metazoo.hub import transfer as hub

    places.directory(to, "--to")
    if addresses := [name for name in names or () if "://" in name and zoo is not None]:
        raise ValueError(f"{addresses[0]} is an address already, and --from is {zoo!r}; give one of them.")
    shared = sources.parse(zoo) if zoo else hub.default_source()
    for source, name in [sources.split(name) if "://" in name else (shared, name) for name in names or ()]:
        bar = _progress_bar if sys.stderr.isatty() else None
        if kind == "litert":
            print(hub.download_device(name, source, to or Path(), bar))
        else:
            print(hub.download(name, source, to, bar))


def _download_data(name: str) -> None:
    """Puts a set of images into the cache; prints where, and what is in it."""
    cli_support.load_tensorflow()
    from metazoo import progress
    from metazoo.tasks.images import archives, glyphs

    with progress.shown():
        if name == "omniglot":
            with progress.stage("omniglot, archives", len(archives.ARCHIVES)) as advance:
                print(archives.download(advance))
            return
        images = glyphs.rendered()
    same = "" if images.checksum() == glyphs.CHECKSUM else ", other than matplotlib 3.11 draws them"
    print(f"{glyphs.path()}: {len(images.images):,} characters, SHA-256 {images.checksum()}{same}")


def push(
    names: Annotated[list[str], typer.Argument(metavar="NAME|DIR...", help="Policies.")],
    to: Annotated[str, typer.Option(metavar="DIR|hf://ORG/REPO", help="The zoo.")],
    replay: Annotated[bool, typer.Option("--replay", help="Film each before and after adapting, first.")] = False,
) -> None:
    """Publish policies, with their cards and an index, for others to download.

    The zoo gets a README with the index of its policies, and replay.gif at its root. --replay makes that film (and
    replay.mp4, where ffmpeg is installed); without it, replay.mp4 or replay.gif beside a policy's versions is taken.

    \b
    metazoo push maml_cartpole --to /srv/www/zoo
    metazoo push maml_cartpole maml_navigation --replay --to hf://ORG/REPO
    metazoo push runs/maml_pendulum/savedmodels/maml_pendulum --to hf://ORG/REPO
    """
    from metazoo.hub import transfer as hub

    if "://" not in to:
        places.directory(Path(to), "--to")
    with tempfile.TemporaryDirectory() as scratch:
        films = _films(names, Path(scratch)) if replay else {}
        pushed = hub.push(names, to, films)
    for name, policy in sorted(pushed.items()):
        print(f"{name}  version {policy.version}  {count(len(policy.files), 'file')}  {policy.bytes / 1e3:.0f} kB")


def _films(names: list[str], directory: Path) -> dict[Path, Path]:
    """A film of each policy by its version directory. Raises ValueError for one that cannot be drawn."""
    cli_support.load_tensorflow()
    from metazoo.cards import video
    from metazoo.hub.transfer import find

    films = {}
    with progress.shown():
        for number, version in enumerate(map(find, names)):
            with progress.stage(f"filming {version.parent.name}"):
                film = video.film(version, directory / f"{number}.gif")
                films[version] = video.as_mp4(film) or film
    return films


@contextlib.contextmanager
def _progress_bar(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, for as long as the download takes."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(name, total=size)
        yield lambda count: bars.update(bar, advance=count)
