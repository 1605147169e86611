"""The command ``metazoo new``: a starting file for a family of the user's own, and its test."""

import keyword
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import typer

from metazoo.cli import places

KINDS: Final = ("family",)
STARTING: Final = {"family.py.txt": "{module}.py", "test_family.py.txt": "test_{module}.py"}
"""Files that come along, and what they become."""


def new(
    kind: Annotated[str, typer.Argument(metavar="family", help="What to begin.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the module and the family, such as my_robot.")],
    out: Annotated[Path, typer.Option(help="The directory of the files.")] = Path(),
) -> None:
    """Write a commented starting file for a family of your own, and its test. Nothing is overwritten.

    \b
    metazoo new family my_robot
    metazoo train --family my_robot:MyRobot --algorithm rl2
    """
    if kind not in KINDS:
        raise ValueError(f"there is nothing new of the kind {kind!r}; metazoo new family NAME begins a family.")
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,50}", module) or keyword.iskeyword(module):
        raise ValueError(f"the name is {name!r}; it must be one of a module: small letters, digits and underscores.")
    places.directory(out, "--out")
    class_name = "".join(part.capitalize() for part in module.split("_"))
    words = {"MODULE": module, "CLASS": class_name, "TITLE": class_name}
    targets = {out / target.format(module=module): source for source, target in STARTING.items()}
    if there := next((path for path in targets if path.exists()), None):
        raise FileExistsError(f"{there} exists already; choose another name, or another --out.")
    out.mkdir(parents=True, exist_ok=True)
    for path, source in targets.items():
        text = (resources.files("metazoo.cli") / "starting" / source).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"{{{{{word}}}}}", value)
        path.write_text(text, encoding="utf-8")
        print(path)
    print(f"metazoo train --family {module}:{class_name} --algorithm rl2")
