"""The bridge to TF-Agents 0.19: the zoo's tasks and policies for its users, and its policies as teachers for ours.

    from metazoo.tf_agents.environments import FamilyEnvironment, GymnasiumEnvironment
    from metazoo.tf_agents.policies import ZooPolicy
    from metazoo.tf_agents.as_teacher import teacher_of

Only this package imports TF-Agents; where that is missing, importing this package says so in one sentence.
"""

from importlib.util import find_spec
from typing import Final

MISSING: Final = (
    "TF-Agents is not installed: pip install 'metazoo[tf-agents]' does it on Python 3.11, the newest Python that"
    " TF-Agents 0.19 runs on."
)


class NotInstalledError(ImportError, ValueError):
    """TF-Agents is not there; the message says how to get it."""


if find_spec("tf_agents") is None:
    raise NotInstalledError(MISSING)
