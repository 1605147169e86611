"""``metazoo.serving`` is the package ``serving`` by a name that cannot collide with a folder of yours.

``from metazoo.serving.client import Client`` and ``from serving.client import Client`` give the same objects: modules
are loaded once, under their short names, and found under both.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final, final

import serving

_ALIAS: Final = __name__
_REAL: Final = serving.__name__


@final
class _Same(MetaPathFinder, Loader):
    """Finds ``metazoo.serving.x`` as ``serving.x``."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith(f"{_ALIAS}."):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_REAL + spec.name.removeprefix(_ALIAS))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__  # the alias's, which the import system has just set
        module.__spec__ = spec.loader_state if spec is not None else None


sys.meta_path.insert(0, _Same())
sys.modules[_ALIAS] = serving
