"""The table of docs/edge.md: every shipped policy on a device, beside its SavedModel.

    python docs/figures/edge.py [NAME...]

Each row is written to runs/edge/NAME.json when it is done; what is there is not measured again. Needs the extra `edge`.
"""

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, RUNS = ROOT / "docs" / "edge.md", ROOT / "runs" / "edge"
BEGIN, END = "<!-- table: policies -->\n", "<!-- end -->"
INPUTS = 100
HEADER = """| policy | weights | kB | act | step | adapt | return, 50 tasks | SavedModel, same tasks | card |
|---|---|---|---|---|---|---|---|---|
"""


def measure(name: str) -> dict:
    """Size, differences on random inputs, and the return earned by a process without TensorFlow."""
    import metazoo
    from metazoo.bench import edge_tasks
    from metazoo.edge import check, export, runtime
    from metazoo.hub.listing import summary

    policy = metazoo.load(name)
    path = policy.export_litert(RUNS / f"{name}.tflite")
    source = policy.source()
    found = export.compare(source, runtime._read(path)[0], INPUTS)
    check.require_equal(found)
    earned = edge_tasks.earned(policy, path)
    return {
        "name": name,
        "weights": summary(policy.metadata)["parameters"],
        "bytes": path.stat().st_size,
        "largest": {key: one.largest for key, one in found.items()},
        "of_allowed": {key: one.of_allowed for key, one in found.items()},
        "device": earned.device.tolist(),
        "saved_model": earned.saved_model.tolist(),
        "card": earned.card,
        "interval": earned.interval,
    }


def line(row: dict) -> str:
    import numpy as np

    device, saved = np.array(row["device"]), np.array(row["saved_model"])
    half = 1.96 * device.std(ddof=1) / len(device) ** 0.5
    differences = [f"{row['largest'][key]:.0e}" if key in row["largest"] else "" for key in ("act", "step", "adapt")]
    digits = 3 if abs(row["card"]) < 10 else 1
    low, high = row["interval"]
    earned = f"{device.mean():.{digits}f} ± {half:.{digits}f}"
    card = f"{row['card']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    cells = [f"`{row['name']}`", f"{row['weights']:,}", f"{row['bytes'] / 1e3:.0f}", *differences, earned]
    return f"| {' | '.join([*cells, f'{saved.mean():.{digits}f}', card])} |\n"


def main(names: list[str]) -> None:
    from metazoo import savedmodels_directory
    from metazoo.hub.listing import policies

    RUNS.mkdir(parents=True, exist_ok=True)
    known = list(policies(savedmodels_directory()))
    for name in names or known:
        if not (RUNS / f"{name}.json").exists():
            row = measure(name)
            (RUNS / f"{name}.new").write_text(json.dumps(row), encoding="utf-8")
            os.replace(RUNS / f"{name}.new", RUNS / f"{name}.json")
        print(line(json.loads((RUNS / f"{name}.json").read_text(encoding="utf-8"))), end="", flush=True)
    rows = [json.loads(path.read_text("utf-8")) for name in known if (path := RUNS / f"{name}.json").exists()]
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + HEADER + "".join(map(line, rows)) + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
