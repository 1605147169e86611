"""Flower's ``ServerApp`` of a deployment: what ``metazoo federate`` does, for clients on machines of their own.

The app's run config says what the command's options say: ``preset``, ``clients``, ``rounds``, and where they are to
differ ``sampled``, ``tasks``, ``step``, ``epsilon``, ``delta``, ``clip``, ``name``, ``out`` and ``resume``; 0 and the
empty text leave a default as it is.
"""

import shlex
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from metazoo.federated.federation import federation_of
from metazoo.presets.registry import PRESETS
from metazoo.words import meant

app = ServerApp()

NEEDED = "preset", "clients", "rounds"
DELTA = 1e-3


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Makes the federation's rounds, and exports the policy to ``out``.

    Raises:
        ValueError: the run config lacks something, or says what cannot be.
    """
    from metazoo.federated.privacy import privacy_of
    from metazoo.federated.run import Options, federate

    said: dict[str, Any] = {key: value for key, value in context.run_config.items() if value}
    if missing := [key for key in NEEDED if key not in said]:
        raise ValueError(f"the run config lacks {', '.join(missing)}; flwr run --run-config '{missing[0]}=…' says it.")
    if said["preset"] not in PRESETS:
        raise ValueError(
            f"there is no preset {said['preset']!r}; {meant(said['preset'], PRESETS, 'see metazoo train')}"
        )
    named = {key: said[key] for key in ("sampled", "tasks", "step") if key in said}
    private = "epsilon" in said
    federation = federation_of(
        PRESETS[said["preset"]], int(said["clients"]), int(said["rounds"]), private=private, **named
    )
    promised = (float(said.get(key, default)) for key, default in (("epsilon", 0), ("delta", DELTA), ("clip", 1)))
    privacy = privacy_of(federation, *promised) if private else None
    config = " ".join(f"{key}={value!r}" for key, value in sorted(said.items()) if key not in ("out", "resume"))
    command = shlex.join(["flwr", "run", "--run-config", config])
    options = Options(str(said.get("name", "")), bool(said.get("resume", False)), command=command)
    print(federate(federation, Path(str(said.get("out", "runs"))), lambda one: one.make_rounds(grid), options, privacy))
