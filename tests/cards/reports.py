"""A made-up report and metadata in the shapes that ``evaluate_preset`` and ``export`` give."""

from typing import Any


def made_up_report(name: str, means: tuple[float, ...], episodes: int = 5, **changes: Any) -> dict[str, Any]:
    curve = [
        {"steps": i, "episodes": i * episodes, "mean": mean, "iqm": mean + 1.25, "ci95": [mean - 2.5, mean + 2.75]}
        | {"iqm_ci95": [mean - 1.5, mean + 3.5]}
        for i, mean in enumerate(means)
    ]
    return {
        "name": name,
        "split": "test",
        "tasks": 200,
        "seed": 0,
        "metric": "return",
        "higher_is_better": True,
        "deterministic": False,
        "horizon": 200,
        "curve": curve,
        "total": {"mean": 999.0, "ci95": [900.0, 1100.0]},
        "baselines": {
            "random": {"mean": 21.3, "ci95": [20.1, 22.5], "total": {"mean": 1.0, "ci95": [0.0, 2.0]}},
            "dr_cartpole": {"mean": 171.4, "ci95": [160.1, 180.5], "at_horizon": {"500": {"mean": 402.7}}},
        },
    } | changes


def made_up_metadata(name: str = "maml_cartpole", family: str = "cartpole", **changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "name": name,
        "family": family,
        "family_args": {},
        "algorithm": "maml",
        "config": {},
        "observation_space": {"type": "Box", "shape": [4], "dtype": "float32", "low": -1.0, "high": 1.0},
        "action_space": {"type": "Discrete", "n": 2, "start": 0},
        "distribution": "categorical",
        "memory": {"kind": "fast_weights", "size": 4611, "online": False},
        "horizon": 200,
        "adapt": {"episodes": 5, "steps": 3},
        "provenance": {
            "command": "metazoo train maml_cartpole --seed 7 --updates 1500",
            "evaluate_command": "metazoo evaluate maml_cartpole --split test --tasks 200 --json",
            "seed": 7,
            "updates": 1500,
            "seconds": 504.0,
            "env_steps": 240_000_000,
            "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
            "hardware": "2 core(s), x86_64, no GPU",
            "date": "2026-01-31",
        },
        "evaluation": {},
    } | changes
