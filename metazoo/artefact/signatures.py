"""The contract between an exported policy and whatever calls it: names, dtypes, ranks, metadata keys.

Axes: ``B`` rows, ``K`` episodes, ``T`` steps (padded, with ``mask``), ``S`` memory size. Everything is
batch-first, and row ``b`` of every output depends only on row ``b`` of the inputs. Standard library only,
so that servers and clients can import it without TensorFlow.
"""

from typing import Final, NamedTuple

ACT: Final = "act"
INITIAL_MEMORY: Final = "initial_memory"
STEP: Final = "step"
ADAPT: Final = "adapt"
ACT_IMAGES: Final = "act_images"
"""Of policies that see images of one channel only: ``act`` on pictures as they are in files."""
SERVING_DEFAULT: Final = "serving_default"

METADATA_FILE: Final = "assets.extra/metazoo.json"
WARMUP_FILE: Final = "assets.extra/tf_serving_warmup_requests"
CHECKSUMS_FILE: Final = "assets.extra/SHA256SUMS"
FORMAT: Final = 1
"""Version of the export format, stored as ``format`` in the metadata."""

MEMORY_VARIABLE: Final = "memory"
"""Attribute of the exported object that holds the policy's own memory ``[S]``; publishing rewrites it."""
MEMORY_CHECKPOINT_KEY: Final = f"{MEMORY_VARIABLE}/.ATTRIBUTES/VARIABLE_VALUE"


class Argument(NamedTuple):
    """One named tensor of a signature. ``dtype`` None: as the policy's space says (see ``metadata``).

    ``rank`` counts the leading axes shown in ``axes``; observations and actions may carry more behind them.
    """

    name: str
    dtype: str | None
    axes: str


ACT_INPUTS: Final = (Argument("observations", None, "B"),)
STEP_INPUTS: Final = (
    Argument("observations", None, "B"),
    Argument("previous_actions", None, "B"),
    Argument("previous_rewards", "float32", "B"),
    Argument("previous_done", "bool", "B"),
    Argument("memory", "float32", "BS"),
    Argument("seed", "int32", "B"),
    Argument("deterministic", "bool", "B"),
)
ADAPT_INPUTS: Final = (
    Argument("memory", "float32", "BS"),
    Argument("observations", None, "BKT"),
    Argument("final_observations", None, "BK"),
    Argument("actions", None, "BKT"),
    Argument("rewards", "float32", "BKT"),
    Argument("terminated", "bool", "BKT"),
    Argument("truncated", "bool", "BKT"),
    Argument("mask", "float32", "BKT"),
)
INITIAL_MEMORY_INPUTS: Final = (Argument("rows", "int32", "B"),)
INPUTS: Final = {ACT: ACT_INPUTS, INITIAL_MEMORY: INITIAL_MEMORY_INPUTS, STEP: STEP_INPUTS, ADAPT: ADAPT_INPUTS}
OUTPUTS: Final = {
    ACT: (Argument("actions", None, "B"),),
    INITIAL_MEMORY: (Argument("memory", "float32", "BS"),),
    STEP: (
        Argument("actions", None, "B"),
        Argument("log_probs", "float32", "B"),
        Argument("memory", "float32", "BS"),
    ),
    ADAPT: (
        Argument("memory", "float32", "BS"),
        Argument("loss", "float32", "B"),
        Argument("kl", "float32", "B"),
    ),
}
"""``act`` and ``step`` answer the ``DISTRIBUTION_PARAMETERS`` too."""
IMAGE_INPUTS: Final = (Argument("image_bytes", "string", "B"),)
"""Of ``ACT_IMAGES``: PNG, JPEG, GIF or BMP."""
EPISODE_FIELDS: Final = tuple(argument.name for argument in ADAPT_INPUTS[1:])
"""The names of the recorded episodes, in order: what ``adapt`` takes besides ``memory``."""

DISTRIBUTION_PARAMETERS: Final = {
    "categorical": ("logits",),
    "multi_categorical": ("logits",),
    "gaussian": ("loc", "scale"),
}
"""Outputs that describe the action distribution, by its kind (``metadata["distribution"]``)."""
