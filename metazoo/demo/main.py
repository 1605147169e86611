"""``metazoo demo``: serve a pretrained policy, adapt it to environments it has never seen, serve the adapted ones.

Everything goes through the server's public APIs: episodes are played with TF Serving's ``predict``, ``:adapt`` makes
an inner step and publishes, and what was published is played over REST and over gRPC.
"""

import io
import json
import statistics
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.artefact import signatures
from metazoo.demo import tasks as gym_demo
from metazoo.tasks.families.cartpole import best_fixed_position
from metazoo.types import Episodes
from serving.client.client import Client
from serving.client.sampling import sample
from serving.server import Server

POLICY: Final = "maml_cartpole_goal"
TEST_EPISODES: Final = 20
TEST_SEED: Final = 1000
RESAMPLES: Final = 2000


class Estimate(NamedTuple):
    """A mean return per episode and its 95 % interval."""

    mean: float
    low: float
    high: float


class Adapted(NamedTuple):
    """One task's outcome. ``before``, ``over_rest``, ``over_grpc``: what was played; ``rounds``: what ``:adapt``
    answered; ``seconds``: how long those requests took."""

    model: str
    target: float
    before: Episodes
    over_rest: Episodes
    over_grpc: Episodes
    rounds: Sequence[Mapping[str, Any]]
    seconds: list[float]


class Report(NamedTuple):
    """What the demo found, in return per episode. Improvements are paired: same tasks, same start states."""

    tasks: dict[str, Adapted]
    before: Estimate
    over_rest: Estimate
    over_grpc: Estimate
    improvement: Estimate
    improvement_grpc: Estimate
    best_fixed: float

    @property
    def improved(self) -> bool:
        """Whether adaptation raised the return beyond doubt, over REST and over gRPC alike."""
        return self.improvement.low > 0 and self.improvement_grpc.low > 0


def run(models: Path, out: Path, policy: str = POLICY) -> Report:
    """Adapt ``models/<policy>`` to ``gym_demo.TASKS`` through a server of its own; publish under ``out/adapted``.

    Raises:
        FileNotFoundError: there is no directory ``models``. ServingError: the policy is not served, or refuses.
    """
    with Server(models, out / "adapted", poll_seconds=0) as server:
        rest, grpc = Client(server.url), Client(server.url, grpc=server.grpc_target)
        try:
            metadata = rest.metadata(policy)
            tasks = {name: _adapt(server, rest, grpc, metadata, name) for name in gym_demo.TASKS}
        finally:
            rest.close()
            grpc.close()
    return summarise(tasks)


def summarise(tasks: dict[str, Adapted]) -> Report:
    """The report on the tasks' games."""
    before, over_rest, over_grpc = (
        np.stack([returns(getattr(task, field)) for task in tasks.values()])
        for field in ("before", "over_rest", "over_grpc")
    )
    return Report(
        tasks=tasks,
        before=estimate(before),
        over_rest=estimate(over_rest),
        over_grpc=estimate(over_grpc),
        improvement=estimate(over_rest - before),
        improvement_grpc=estimate(over_grpc - before),
        best_fixed=best_fixed_position([task.target for task in tasks.values()], gym_demo.HORIZON)[1],
    )


def _adapt(server: Server, rest: Client, grpc: Client, metadata: Mapping[str, Any], name: str) -> Adapted:
    """Adapt to one task: as many rounds as the policy was trained for, each on fresh episodes."""
    task, policy = gym_demo.TASKS[name], metadata["name"]
    envs = [gym_demo.make(task) for _ in range(max(TEST_EPISODES, metadata["adapt"]["episodes"]))]
    exploring, testing = envs[: metadata["adapt"]["episodes"]], envs[:TEST_EPISODES]
    before = play(rest, policy, metadata, testing, TEST_SEED)
    model, rounds, seconds = policy, [], []
    for number in range(metadata["adapt"]["steps"]):
        episodes = play(rest, model, metadata, exploring, seed=number)
        start = time.perf_counter()
        rounds.append(_post(f"{server.url}/zoo/v1/policies/{model}:adapt{'' if number else f'?task={name}'}", episodes))
        seconds.append(time.perf_counter() - start)
        model = rounds[-1]["model"]
    over_rest = play(rest, model, metadata, testing, TEST_SEED)
    over_grpc = play(grpc, model, metadata, testing, TEST_SEED)
    return Adapted(model, task.target, before, over_rest, over_grpc, rounds, seconds)


def play(client: Client, model: str, metadata: Mapping[str, Any], envs: Sequence[Any], seed: int) -> Episodes:
    """One episode in each of ``envs``, side by side: one request asks for the actions of all of them.

    Returns:
        ``[K, T, ...]`` with K = ``len(envs)``, padded to the policy's horizon: what ``:adapt`` takes.
    """
    rng, horizon = np.random.default_rng(seed), metadata["horizon"]
    latest = np.stack([env.reset(seed=seed * 1000 + number)[0] for number, env in enumerate(envs)])
    shape = (len(envs), horizon)
    observations = np.zeros((*shape, *latest.shape[1:]), np.float32)
    actions, rewards = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    terminated, truncated, mask = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, np.float32)
    parameters = signatures.DISTRIBUTION_PARAMETERS[metadata["distribution"]]
    playing = np.ones(len(envs), bool)
    for step in range(horizon):
        answer = client.predict(model, {"observations": latest}, signatures.ACT, parameters)
        actions[:, step] = sample(metadata, answer, rng)
        observations[:, step] = latest
        for number in np.flatnonzero(playing):
            outcome = envs[number].step(int(actions[number, step]))
            latest[number], rewards[number, step], terminated[number, step], truncated[number, step], _ = outcome
        mask[:, step] = playing
        playing &= ~(terminated[:, step] | truncated[:, step])
        if not playing.any():
            break
    truncated[playing, -1] = True
    return Episodes(observations, latest.astype(np.float32), actions, rewards, terminated, truncated, mask)


def _post(url: str, episodes: Episodes) -> dict[str, Any]:
    """Send episodes to ``:adapt`` as an npz; the server's answer."""
    body = io.BytesIO()
    np.savez(body, **episodes._asdict())
    with urllib.request.urlopen(urllib.request.Request(url, body.getvalue()), timeout=60) as answer:
        return json.load(answer)


def returns(episodes: Episodes) -> np.ndarray:
    """The sum of rewards of each episode, ``[K]``."""
    return (episodes.rewards * episodes.mask).sum(-1)


def estimate(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean of ``values [tasks, episodes]`` with a 95 % bootstrap interval: the tasks are fixed, episodes resampled."""
    tasks, episodes = values.shape
    chosen = np.random.default_rng(seed).integers(episodes, size=(RESAMPLES, tasks, episodes))
    means = values[np.arange(tasks)[:, None], chosen].mean((1, 2))
    return Estimate(float(values.mean()), *(float(bound) for bound in np.quantile(means, [0.025, 0.975])))


def latencies(report: Report) -> dict[str, float]:
    """Medians over all ``:adapt`` requests in ms: the inner step, publishing, loading; the whole request."""
    timings = [answer["timings"] for task in report.tasks.values() for answer in task.rounds]
    medians = {key: statistics.median(one[key] for one in timings) for key in timings[0]}
    whole = statistics.median(second for task in report.tasks.values() for second in task.seconds)
    return {**medians, "request_ms": whole * 1e3}


def show(report: Report, picture: Path, seconds: float) -> None:
    """Print the report."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table(
        title=f"Mean return of {TEST_EPISODES} episodes a task; {gym_demo.HORIZON} is perfect", title_justify="left"
    )
    table.add_column("task")
    for name in ("target (m)", "before", "after, REST", "after, gRPC"):
        table.add_column(name, justify="right")
    for name, task in report.tasks.items():
        means = [f"{returns(played).mean():.1f}" for played in (task.before, task.over_rest, task.over_grpc)]
        table.add_row(name, f"{task.target:+.2f}", *means)
    estimates = report.before, report.over_rest, report.over_grpc
    table.add_row("all", "", *(f"{one.mean:.1f}" for one in estimates), style="bold")
    table.add_row("95 % interval", "", *(f"[{one.low:.1f}, {one.high:.1f}]" for one in estimates))
    console.print(table)
    best, gain = report.best_fixed, report.improvement
    console.print(
        f"\nThe best fixed position earns {best:.1f} on these targets: who cannot tell them apart earns no more."
    )
    console.print(f"Adaptation improved the return by {gain.mean:.1f} [{gain.low:.1f}, {gain.high:.1f}] (paired).")
    ms = latencies(report)
    console.print(
        f"Latency of one adaptation, median: {ms['adapt_ms']:.1f} ms the inner step, {ms['publish_ms']:.1f} ms "
        f"publishing, {ms['load_ms']:.1f} ms loading, {ms['request_ms']:.1f} ms the whole request."
    )
    console.print(f"Cart positions before and after: {picture}")
    verdict = "[green]Adaptation improved the return[/]" if report.improved else "[red]No certain improvement[/]"
    console.print(f"{verdict}; {seconds:.0f} s in all.")


def draw(report: Report, file: Path) -> None:
    """A picture of the cart's positions over time, before and after adapting, one panel for each task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.4), layout="constrained")
    panels = figure.subplots(2, (len(report.tasks) + 1) // 2, sharex=True, sharey=True, squeeze=False)
    for panel, (name, task) in zip(panels.flat, report.tasks.items(), strict=False):
        for episodes, colour, label in ((task.before, "0.6", "before"), (task.over_rest, "tab:blue", "after")):
            where = np.where(episodes.mask > 0, episodes.observations[..., 0], np.nan)
            panel.plot(where.T, color=colour, linewidth=0.8, alpha=0.7, label=[label, *[None] * (len(where) - 1)])
        panel.axhline(task.target, color="tab:red", linestyle="--", linewidth=1.2, label="target (not told)")
        panel.set_title(
            f"{name}: {returns(task.before).mean():.0f} → {returns(task.over_rest).mean():.0f}", fontsize=10
        )
        panel.set_ylim(-2.5, 2.5)
    for panel in panels[-1]:
        panel.set_xlabel("step")
    for panel in panels[:, 0]:
        panel.set_ylabel("cart position (m)")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle("CartPole-v1 with a hidden target: mean return before → after adapting")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
