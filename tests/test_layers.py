"""The architecture, enforced: which module may import which, and who may touch which library.

Everything is read from the syntax tree, nothing is imported. Each rule is a function from a module to sentences that
describe its breaches; the last tests show that every rule finds a breach in a source written for it.
"""

import ast
import sys
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Low to high. A module imports lower rooms and its own, nothing else. A room is a folder, or a module at the top.
METAZOO: tuple[tuple[str, ...], ...] = (
    ("types", "random", "cores", "plugins", "words", "progress", "keras_settings"),
    ("losses", "axes", "summaries"),
    ("artefact",),
    ("hub", "tasks", "policies", "collect", "edge"),
    ("rollouts", "samplers"),
    ("algorithms", "classical"),
    ("evaluation",),
    ("pretrained",),
    ("averaging", "classifiers", "finding", "presets", "tf_agents"),
    ("cards",),
    ("training",),
    ("distributed", "federated", "tuning", "explain", "tasks.testing"),
    ("similarity",),
    ("gallery", "demo", "bench"),
    ("cli", "serving"),  # the alias of the package beside it
)
SERVING: tuple[tuple[str, ...], ...] = (
    ("errors", "logs"),
    ("wire", "metrics", "ports", "overload"),
    ("engine",),
    ("models", "options"),
    ("handlers", "security", "client"),
    ("adapting", "stock"),
    ("rest", "rpc"),
    ("server",),
)
LAYERS = {"metazoo": METAZOO, "serving": SERVING}
RANKS = {
    f"{package}.{room}": rank
    for package, layers in LAYERS.items()
    for rank, rooms in enumerate(layers)
    for room in rooms
}

SERVING_MAY_IMPORT = ("metazoo.artefact", "metazoo.collect")
KNOW_SERVING = {
    "metazoo.cli.main",
    "metazoo.cli.serve",
    "metazoo.cli.gallery",
    "metazoo.gallery.site",
    "metazoo.demo.main",
    "metazoo.bench.serving",
    "metazoo.bench.serving_load",
    "metazoo.serving",
}
SHARED_BY_ALGORITHMS = "metazoo.algorithms.common"
DEVICE = "metazoo.edge.runtime"
CHECK_KIT = "metazoo.tasks.testing"
"""Tries a family all the way, to an exported policy, so it stands on top of what makes one."""
NAMES_ALL_ALGORITHMS = {"metazoo.algorithms", "metazoo.algorithms.registry"}
PRIVATE_TENSORFLOW = "serving.engine.tf_internals"
WRITES_WHOLE = "metazoo.artefact.whole"
GYMNASIUM_BORDER = (
    "metazoo.artefact.answers",
    "metazoo.artefact.episodes",
    "metazoo.artefact.spaces",
    "metazoo.collect",
    "metazoo.bench.gym_peers",
    "metazoo.demo.tasks",
    "metazoo.edge.export",
    "metazoo.edge.runtime",
    "metazoo.tasks.gym",
    "metazoo.tasks.metaworld",
    "metazoo.tasks.mujoco",
    "metazoo.tasks.views",
)
IMPORTED_WHERE_USED = {"matplotlib", "huggingface_hub", "mujoco"}
START_FAST = {"metazoo", "metazoo.cli.main", "metazoo.cli.serve", "metazoo.cli.zoo"}  # `metazoo --help` answers at once


class Import(NamedTuple):
    """One imported module, its name in full. ``when``: as the importing module is, later in a function, or never."""

    target: str
    line: int
    when: Literal["imported", "called", "type checking"]


class Module(NamedTuple):
    name: str
    tree: ast.Module
    imports: list[Import]


def parse(name: str, source: str, known: frozenset[str] = frozenset()) -> Module:
    """``known`` module names tell ``from package import module`` from ``from module import name``."""
    tree = ast.parse(source)
    return Module(name, tree, list(_imports(tree, known, "imported")))


def _imports(node: ast.AST, known: frozenset[str], when):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, when)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            assert child.level == 0, f"line {child.lineno}: relative import; this project writes module names in full"
            for alias in child.names:
                full = f"{base}.{alias.name}"
                yield Import(full if full in known else base, child.lineno, when)
        else:
            inner = when
            if _is_type_checking(child):
                inner = "type checking"
            elif when == "imported" and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = "called"
            yield from _imports(child, known, inner)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def room_of(name: str) -> str:
    """``metazoo.tasks.families.cartpole`` → ``metazoo.tasks``; the check kit is a room of its own in there."""
    return CHECK_KIT if inside(name, CHECK_KIT) else ".".join(name.split(".")[:2])


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


# --- the rules ---------------------------------------------------------------------------------------------------


def devices_need_little(module: Module) -> list[str]:
    """What runs on a device is copied there alone."""
    if module.name != DEVICE:
        return []
    allowed = {*sys.stdlib_module_names, "numpy", "ai_edge_litert", "gymnasium"}
    return [
        f"{module.name}:{imported.line} imports {imported.target}"
        for imported in module.imports
        if imported.target.split(".")[0] not in allowed
        or (imported.target.split(".")[0] == "gymnasium" and imported.when == "imported")
    ]


def layers(module: Module) -> list[str]:
    room, package = room_of(module.name), module.name.split(".")[0]
    if room == package:
        return []
    if room not in RANKS:
        return [f"{module.name} has no place in LAYERS"]
    return [
        f"{module.name}:{imported.line} imports {imported.target}, which is not below it"
        for imported in module.imports
        if imported.target.startswith(f"{package}.") and room_of(imported.target) != room
        if RANKS.get(room_of(imported.target), len(RANKS)) >= RANKS[room]
    ]


def algorithms_are_independent(module: Module) -> list[str]:
    if not inside(module.name, "metazoo.algorithms") or module.name in NAMES_ALL_ALGORITHMS:
        return []
    return [
        f"{module.name}:{imported.line} imports another algorithm, {imported.target}"
        for imported in module.imports
        if imported.target.startswith("metazoo.algorithms.") and not inside(imported.target, SHARED_BY_ALGORITHMS)
    ]


def serving_and_metazoo_meet_in_few_places(module: Module) -> list[str]:
    breaches = []
    for imported in module.imports:
        if inside(module.name, "serving") and inside(imported.target, "metazoo"):
            if not any(inside(imported.target, place) for place in SERVING_MAY_IMPORT):
                breaches.append(f"{module.name}:{imported.line} imports {imported.target}")
        elif inside(imported.target, "serving") and inside(module.name, "metazoo") and module.name not in KNOW_SERVING:
            breaches.append(f"{module.name}:{imported.line} imports {imported.target}")
    return breaches


def gymnasium_stays_at_the_border(module: Module) -> list[str]:
    if any(inside(module.name, place) for place in GYMNASIUM_BORDER):
        return []
    return [
        f"{module.name}:{imported.line} imports gymnasium"
        for imported in module.imports
        if inside(imported.target, "gymnasium")
        and imported.when != "type checking"
        and not (module.name in KNOW_SERVING and imported.when == "called")
    ]


def tf_agents_stays_in_its_bridge(module: Module) -> list[str]:
    return [
        f"{module.name}:{imported.line} imports tf_agents"
        for imported in module.imports
        if inside(imported.target, "tf_agents") and not inside(module.name, "metazoo.tf_agents")
    ]


def big_libraries_are_imported_where_used(module: Module) -> list[str]:
    heavy = {"tensorflow", "keras", "numpy", "gymnasium"} if module.name in START_FAST else set()
    return [
        f"{module.name}:{imported.line} imports {imported.target} when it is itself imported"
        for imported in module.imports
        if imported.when == "imported" and imported.target.split(".")[0] in IMPORTED_WHERE_USED | heavy
    ]


def keras_is_keras_3(module: Module) -> list[str]:
    """tf.keras is Keras 2 here, for TensorFlow Probability; ours is ``import keras``."""
    lines = [
        imported.line
        for imported in module.imports
        if imported.target.startswith("tensorflow.")
        and "keras" in imported.target.split(".")
        or inside(imported.target, "tf_keras")
    ]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "keras":
            base = ast.unparse(node.value)
            if base.split(".")[0] in ("tf", "tensorflow"):
                lines.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and inside(node.module or "", "tensorflow"):
            lines.extend(node.lineno for alias in node.names if alias.name == "keras")
    return [f"{module.name}:{line} uses tf.keras" for line in sorted(lines)]


def files_become_whole_in_one_place(module: Module) -> list[str]:
    """Renaming, replacing and flushing by hand forgets one of the three sooner or later. A device has no metazoo."""
    if module.name in (WRITES_WHOLE, DEVICE):
        return []
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call) and _puts_in_place(node)]
    return [f"{module.name}:{call.lineno} calls {ast.unparse(call.func)}" for call in calls]


def _puts_in_place(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    by_system = {"os.rename", "os.renames", "os.replace", "os.link", "os.fsync", "os.fdatasync", "shutil.move"}
    of_path = isinstance(call.func, ast.Attribute) and call.func.attr in ("rename", "replace", "hardlink_to")
    one_value = len(call.args) == 1 and not call.keywords  # text is replaced by two
    return name in by_system or (of_path and one_value and not name.startswith((f"{WRITES_WHOLE}.", "whole.")))


def private_tensorflow_stands_in_one_place(module: Module) -> list[str]:
    """Of the server; the learners' calls into compiled programs are in ``algorithms.common.host_calls``."""
    if not inside(module.name, "serving") or module.name == PRIVATE_TENSORFLOW:
        return []
    lines = [imported.line for imported in module.imports if inside(imported.target, "tensorflow.python")]
    lines += [
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in ("_as_tf_output", "_extend_graph")
    ]
    return [f"{module.name}:{line} uses a private name of TensorFlow" for line in lines]


RULES = (
    layers,
    devices_need_little,
    algorithms_are_independent,
    serving_and_metazoo_meet_in_few_places,
    gymnasium_stays_at_the_border,
    tf_agents_stays_in_its_bridge,
    big_libraries_are_imported_where_used,
    keras_is_keras_3,
    files_become_whole_in_one_place,
    private_tensorflow_stands_in_one_place,
)


def subclasses_of_final(modules: list[Module]) -> list[str]:
    classes = [(module, node) for module in modules for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    final = {node.name for _, node in classes if any(ast.unparse(d).endswith("final") for d in node.decorator_list)}
    return [
        f"{module.name}:{node.lineno} subclasses {ast.unparse(base)}, which is final"
        for module, node in classes
        for base in node.bases
        if ast.unparse(base).split(".")[-1] in final
    ]


# --- the project keeps them --------------------------------------------------------------------------------------


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def project_modules() -> list[Module]:
    paths = [path for package in ("metazoo", "serving") for path in sorted((ROOT / package).rglob("*.py"))]
    known = frozenset(module_name(path) for path in paths)
    return [parse(module_name(path), path.read_text(encoding="utf-8"), known) for path in paths]


MODULES = project_modules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_the_rule(rule):
    breaches = [breach for module in MODULES for breach in rule(module)]
    assert not breaches, "\n".join(breaches)


def test_final_classes_have_no_subclasses():
    assert not (breaches := subclasses_of_final(MODULES)), "\n".join(breaches)


def test_no_module_imports_itself_through_others():
    known = {module.name for module in MODULES}
    graph = {
        module.name: {one.target for one in module.imports if one.when == "imported" and one.target in known}
        for module in MODULES
    }
    while leaves := {name for name, others in graph.items() if not others - {name}}:
        graph = {name: others - leaves for name, others in graph.items() if name not in leaves}
    assert not graph, f"in or behind a circle: {', '.join(sorted(graph))}"


def test_every_layer_is_a_known_place():
    assert len(RANKS) == sum(len(rooms) for layers in LAYERS.values() for rooms in layers), "a room stands twice"
    assert {module.name for module in MODULES} >= {"metazoo", "serving", "metazoo.types", "metazoo.artefact.signatures"}


# --- the rules find what they should -----------------------------------------------------------------------------

KNOWN = frozenset({"metazoo.cli.main", "metazoo.losses", "metazoo.algorithms.rl2", "serving.server", "metazoo.collect"})

BREACHES = [
    (layers, "metazoo.types", "import metazoo.random"),
    (layers, "metazoo.losses", "from metazoo.algorithms.maml import MAML"),
    (layers, "metazoo.algorithms.maml", "def later():\n    from metazoo.cli import main as cli"),
    (layers, "metazoo.tasks.families.cartpole", "from metazoo.policies.policy import Policy"),
    (layers, "metazoo.hub.transfer", "from metazoo.presets.registry import PRESETS"),
    (layers, "metazoo.unheard_of", ""),
    (layers, "serving.wire.codec", "from serving.engine.batching import Batcher"),
    (layers, "serving.adapting.adapter", "from serving.rest.http_body import Bodies"),
    (devices_need_little, "metazoo.edge.runtime", "def f():\n    import tensorflow"),
    (devices_need_little, "metazoo.edge.runtime", "from metazoo.edge import file"),
    (devices_need_little, "metazoo.edge.runtime", "import gymnasium"),
    (algorithms_are_independent, "metazoo.algorithms.maml", "from metazoo.algorithms import rl2"),
    (algorithms_are_independent, "metazoo.algorithms.distillation", "import metazoo.algorithms.rl2"),
    (serving_and_metazoo_meet_in_few_places, "serving.adapting.adapter", "from metazoo.types import Episodes"),
    (serving_and_metazoo_meet_in_few_places, "serving.adapting.adapter", "import metazoo"),
    (serving_and_metazoo_meet_in_few_places, "metazoo.pretrained", "from serving import server"),
    (gymnasium_stays_at_the_border, "metazoo.evaluation", "import gymnasium as gym"),
    (gymnasium_stays_at_the_border, "serving.client.client", "def f():\n    from gymnasium.spaces import Box"),
    (tf_agents_stays_in_its_bridge, "metazoo.pretrained", "def f():\n    import tf_agents.policies"),
    (big_libraries_are_imported_where_used, "metazoo.cards.card", "import matplotlib.pyplot as plt"),
    (
        big_libraries_are_imported_where_used,
        "metazoo.cli.main",
        "try:\n    import tensorflow as tf\nexcept ImportError: ...",
    ),
    (keras_is_keras_3, "metazoo.losses", "import tensorflow as tf\nloss = tf.keras.losses.MSE"),
    (keras_is_keras_3, "metazoo.losses", "import tensorflow as tf\nloss = tf.compat.v1.keras.losses"),
    (keras_is_keras_3, "metazoo.losses", "from tensorflow import keras"),
    (keras_is_keras_3, "metazoo.losses", "from tensorflow.keras import layers"),
    (keras_is_keras_3, "metazoo.losses", "import tf_keras"),
    (files_become_whole_in_one_place, "metazoo.training.train", "import os\nos.replace(part, path)"),
    (files_become_whole_in_one_place, "serving.models.config_files", "aside.replace(self.path)"),
    (files_become_whole_in_one_place, "metazoo.artefact.store", "Path(work).rename(base / '1')"),
    (files_become_whole_in_one_place, "metazoo.hub.transfer", "os.fsync(file.fileno())"),
    (private_tensorflow_stands_in_one_place, "serving.engine.program", "from tensorflow.python.client import session"),
    (private_tensorflow_stands_in_one_place, "serving.engine.wide", "def f(x): return x._as_tf_output()"),
]

ALLOWED = [
    (layers, "metazoo.algorithms.maml", "from metazoo import losses\nimport metazoo.types"),
    (layers, "metazoo.tasks.families.cartpole", "from metazoo.tasks.family import TaskFamily"),
    (layers, "metazoo.pretrained", "from metazoo.hub.transfer import resolve"),
    (devices_need_little, "metazoo.edge.runtime", "import json\ndef f():\n    from gymnasium.spaces import flatten"),
    (algorithms_are_independent, "metazoo.algorithms.maml", "from metazoo.algorithms.common import inner_loop"),
    (serving_and_metazoo_meet_in_few_places, "serving.client", "from metazoo import collect"),
    (serving_and_metazoo_meet_in_few_places, "metazoo.cli.main", "def serve():\n    from serving import server"),
    (gymnasium_stays_at_the_border, "metazoo.tasks.views.gym_view", "import gymnasium as gym"),
    (gymnasium_stays_at_the_border, "serving.client.client", "if typing.TYPE_CHECKING:\n    import gymnasium"),
    (big_libraries_are_imported_where_used, "metazoo.cards.card", "def plot():\n    import matplotlib"),
    (
        big_libraries_are_imported_where_used,
        "metazoo.hub.transfer",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import huggingface_hub",
    ),
    (keras_is_keras_3, "metazoo.losses", "import keras\nloss = keras.losses.MSE"),
    (private_tensorflow_stands_in_one_place, "serving.engine.tf_internals", "import tensorflow.python.client.session"),
    (files_become_whole_in_one_place, "metazoo.artefact.whole", "os.replace(part, path)"),
    (files_become_whole_in_one_place, "metazoo.words", "text.replace('a', 'b'); dataclasses.replace(a, b=1)"),
]
ALLOWED_KNOWN = KNOWN | {"metazoo.algorithms.common.inner_loop"}


@pytest.mark.parametrize(("rule", "name", "source"), BREACHES)
def test_a_breach_is_found(rule, name, source):
    assert rule(parse(name, source, KNOWN))


@pytest.mark.parametrize(("rule", "name", "source"), ALLOWED)
def test_what_is_allowed_is_not_a_breach(rule, name, source):
    assert not rule(parse(name, source, ALLOWED_KNOWN))


def test_a_subclass_of_a_final_class_is_found():
    family = parse("metazoo.tasks.a", "@typing.final\nclass Cart: ...\nclass Open: ...")
    child = parse("metazoo.tasks.b", "class Mine(a.Cart): ...\nclass Fine(a.Open): ...")
    assert subclasses_of_final([family, child]) == ["metazoo.tasks.b:1 subclasses a.Cart, which is final"]


def test_relative_imports_are_refused():
    with pytest.raises(AssertionError, match="relative import"):
        parse("metazoo.losses", "from . import types")
