"""A zoo of pretrained meta-policies for TensorFlow: adapt one in a few episodes, serve it from TF Serving.

    policy = metazoo.load("maml_cartpole")
    adapted = policy.adapt(env, episodes=5)

Importing this package is cheap: TensorFlow is loaded when a policy is. If Gymnasium was imported before, our
environments are registered with it (otherwise importing ``metazoo.tasks.views.gym_view`` does that).

One thing is done to the whole process: TensorFlow Probability and TF-Agents run on Keras 2, which TensorFlow gives
them when ``TF_USE_LEGACY_KERAS=1`` is set before ``tf.keras`` is first touched. The variable is set here and nowhere
else. It turns the caller's own ``tf.keras`` into Keras 2 as well; ``import keras`` stays Keras 3, and is what metazoo
uses.
"""

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from metazoo.artefact.places import savedmodels_directory

if TYPE_CHECKING:
    from metazoo.finding import Found
    from metazoo.pretrained import Pretrained

__version__ = "0.2.0"
__all__ = ["__version__", "average", "find", "load", "savedmodels_directory", "train"]

_LEGACY_KERAS: Final = "TF_USE_LEGACY_KERAS"
_TF_KERAS_MODULES: Final = ("tensorflow", "tensorflow._api.v2.compat.v2", "tensorflow._api.v2.compat.v1")


def load(name: str | os.PathLike[str], version: int | None = None) -> "Pretrained":
    """The policy of that name (downloaded if need be) or in that directory, ready to act and to adapt.

    ``version`` None takes the newest. Raises what ``metazoo.pretrained.load`` raises.
    """
    from metazoo import pretrained

    return pretrained.load(name, version)


def train(
    family: Any, algorithm: str = "rl2", *, ray: str | None = None, workers: int | None = None, **options: Any
) -> "Pretrained":
    """Meta-train a policy on a family of your own: see ``metazoo.training.own.train_own``, which has the options.

    ``ray`` is the address of a Ray cluster, or ``local`` for one on this machine, whose ``workers`` share the training;
    by default as many as there are shares of an update, or cores.
    """
    from metazoo.training import own

    if ray is not None:
        from metazoo.distributed.training import OnRay

        options["elsewhere"] = OnRay(ray, workers)
    return own.train_own(family, algorithm, **options)


def find(env: Any, **options: Any) -> "Found":
    """Which policies fit a ``gymnasium.Env``, and how each does on it: see ``metazoo.finding.find``."""
    from metazoo import finding

    return finding.find(env, **options)


def average(one: "Pretrained", other: "Pretrained", alpha: float, directory: str | os.PathLike[str]) -> "Pretrained":
    """The policy with weights α·one + (1−α)·other, published in ``directory``: see ``metazoo.averaging``."""
    from metazoo import averaging

    return averaging.average(one, other, alpha, directory)


def _ask_for_legacy_keras() -> None:
    """Set TF_USE_LEGACY_KERAS=1. Raises ImportError when that cannot take effect any more.

    Importing TensorFlow first is harmless: it decides what ``tf.keras`` is at the first access to one of its
    attributes, and replaces its lazy loader by the real module. ``vars`` looks without causing that.
    """
    value = os.environ.setdefault(_LEGACY_KERAS, "1")
    if value not in ("1", "true", "True"):
        raise ImportError(f"{_LEGACY_KERAS} is {value!r}, but TensorFlow Probability needs it to be '1' or unset.")
    for name in _TF_KERAS_MODULES:
        keras = vars(sys.modules[name]).get("keras") if name in sys.modules else None
        version = vars(keras).get("__version__", "") if keras is not None else ""
        if str(version).startswith("3."):
            raise ImportError(
                f"tf.keras is already Keras {version}, but TensorFlow Probability needs Keras 2 there: import metazoo "
                f"before tf.keras is used, or set {_LEGACY_KERAS}=1 before Python starts."
            )


def _register_environments() -> None:
    """Give Gymnasium our ids (``metazoo/CartPole-v0``), if the program uses Gymnasium at all: it loads no plugins.

    A device without TensorFlow has no use for them: ``metazoo.edge`` can be imported there.
    """
    if "gymnasium" in sys.modules and _is_installed("tensorflow"):
        import metazoo.tasks.views.gym_view  # noqa: F401  registers when it is imported


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # what looks for packages may refuse one
        return False


_ask_for_legacy_keras()
_register_environments()
