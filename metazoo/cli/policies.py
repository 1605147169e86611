"""The commands that put a policy to use: ``metazoo evaluate`` and ``metazoo adapt``."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metazoo import progress
from metazoo.cli import options, places, support
from metazoo.cli.zoo import Json

PICTURES: Final = (".png", ".svg")
FILMS: Final = (".gif",)
SPLITS: Final = ("test", "validation", "ood", "train")
TEST_SEED: Final = 10_000
"""Added to --seed for the episodes that measure a return, which are others than those adapted with."""

Episodes = Annotated[int | None, options.whole(1, 10**4, help="A step; as trained by default.")]
Seed = Annotated[int, options.seed(help="Decides every random draw.")]


def evaluate(
    names: Annotated[list[str], typer.Argument(metavar="NAME|DIR...", help="Policies; evaluated on the same tasks.")],
    split: Annotated[str, options.choice(SPLITS)] = "test",
    tasks: Annotated[int | None, options.whole(2, 10**5, help="As on its card by default, mostly 200.")] = None,
    episodes: Episodes = None,
    steps: Annotated[int | None, options.whole(0, 100, help="Rounds of adaptation; as trained by default.")] = None,
    seed: Seed = 0,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Modes instead of samples.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the adaptation curves into this .png or .svg.")] = None,
    video: Annotated[Path | None, typer.Option(help="Film a task before and after adapting into this .gif.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the figures into metadata and model card.")] = False,
    runs: Annotated[Path | None, typer.Option(help="With --record: trained there with --seeds; on the card.")] = None,
    family: support.Family = None,
    family_arg: support.FamilyArg = None,
    ray: support.Ray = None,
    as_json: Json = False,
) -> None:
    """Return before and after adapting, on tasks of the policy's family that it was not trained on.

    \b
    metazoo evaluate maml_cartpole_goal
    metazoo evaluate maml_cartpole_goal --steps 5 --plot curve.png
    metazoo evaluate maml_cartpole_goal --video adapting.gif
    metazoo evaluate maml_navigation --record --runs runs
    metazoo evaluate runs/maml_navigation/savedmodels/maml_navigation --split ood --json
    metazoo evaluate runs/rl2_altitude/savedmodels/rl2_altitude --family robots/my_robot.py:Altitude
    metazoo evaluate maml_navigation fomaml_navigation promp_navigation --ray

    A policy finds its own family again; --family is for one that was moved, or for another one with the same spaces.
    """
    family_arguments = support.family_arguments(family, family_arg)
    protocol: dict[str, Any] = {"split": split, "tasks": tasks, "episodes": episodes, "steps": steps, "seed": seed}
    protocol["deterministic"] = deterministic
    if runs is not None and not record:
        raise ValueError(f"--runs is {runs}; it needs --record.")
    if record:
        _only_defaults(**protocol)
    if video is not None and len(names) > 1:
        raise ValueError(f"--video is {video}; it films one policy, and {len(names)} are given.")
    if family is not None and ray is not None:
        raise ValueError(f"--family is {family}; only this process is told of it, so leave --ray out.")
    if ray is not None:
        support.require_cluster(ray)
    places.file(plot, "--plot", PICTURES)
    places.file(video, "--video", FILMS)
    versions = _versions(names, record)

    reports: list[dict[str, Any]] = []
    try:
        with support.stdout_is_for_json(as_json):
            with progress.shown():
                support.load_tensorflow()
                support.give_family(family, family_arguments, versions, record)
                _require_families(versions)
                film = None if video is None else _film(versions[0], video, protocol)
                measure = _recorder(versions, runs) if record else _evaluator(protocol)
                measured = map(measure, versions) if ray is None else _on_ray(ray, measure, versions)
            for _ in versions:
                with progress.shown():
                    reports.append(next(measured))
                if not as_json:
                    support.print_report(reports[-1])
            if plot is not None:
                from metazoo.cards.plots import adaptation_curve

                adaptation_curve(reports, plot)
            if film is not None:
                with progress.shown(), progress.stage("filming"):
                    film(reports[-1])
    finally:  # what was measured is not lost with what fails after it
        if as_json and reports:
            support.print_json(reports[0] if len(names) == 1 else reports)


def _versions(names: list[str], record: bool) -> list[Path]:
    """The policies' version directories, where the figures can be written if they are to be recorded."""
    from metazoo.hub.transfer import find

    versions = [find(name) for name in names]
    for version in versions if record else ():
        places.writable(version.parent, f"--record writes into {version.parent}")
    return versions


def _require_families(versions: list[Path]) -> None:
    """Raises ValueError for a policy whose tasks nobody here can sample."""
    from metazoo.artefact import store
    from metazoo.pretrained import family_of

    for version in versions:
        family_of(store.read_metadata(version) or {})


def _evaluator(protocol: Mapping[str, Any]) -> Callable[[Path], dict[str, Any]]:
    from metazoo.cards.report import evaluate_preset

    return lambda version: evaluate_preset(version, **protocol)


def _on_ray(address: str, measure: Callable[[Path], Any], versions: list[Path]) -> Iterator[dict[str, Any]]:
    from metazoo.distributed.tasks import RayTasks

    return RayTasks(address).in_order([partial(measure, version) for version in versions], "policies")


def _recorder(versions: list[Path], runs: Path | None) -> Callable[[Path], dict[str, Any]]:
    """Records with the other trainings below ``runs``; raises ValueError where a policy has none there."""
    from metazoo.cards import record, seeds

    trained = {version: seeds.exports(runs, version.parent.name) if runs else None for version in versions}
    return lambda version: record.record(version, trained[version])


def _film(version: Path, file: Path, protocol: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Path]:
    """What makes the film; raises ValueError where there is nothing to be seen."""
    from metazoo.cards import video

    options = {name: protocol[name] for name in ("split", "episodes", "steps", "seed")}
    video.check(version, options["split"], options["seed"])
    return lambda report: video.film(version, file, **options, report=report)


def _only_defaults(**protocol: Any) -> None:
    """Cards hold one protocol, so that they can be compared."""
    usual = {"split": "test", "tasks": None, "episodes": None, "steps": None, "seed": 0, "deterministic": False}
    for name, value in protocol.items():
        if value != usual[name]:
            raise ValueError(f"--{name} is {value}; --record takes the standard protocol, so leave it out.")


def adapt(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="The policy to start from.")],
    env: Annotated[str | None, typer.Option(metavar="ID", help="A Gymnasium environment.")] = None,
    env_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument or attribute.")] = None,
    task: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A task of its own family.")] = None,
    family: support.Family = None,
    family_arg: support.FamilyArg = None,
    episodes_file: Annotated[
        str | None, typer.Option(metavar="FILE|minari:ID", help=".npz, .json, .jsonl or .csv; allows one step.")
    ] = None,
    topic_map: Annotated[Path | None, typer.Option(help="Where a recording's topics have the fields, .json.")] = None,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="A folder of pictures for each class.")] = None,
    test_images: Annotated[Path | None, typer.Option(metavar="DIR", help="As --images, to measure accuracy.")] = None,
    convert: Annotated[bool, typer.Option("--convert", help="Takes pictures of any size and mode.")] = False,
    off_policy: Annotated[bool, typer.Option("--off-policy", help="They may be another controller's.")] = False,
    episodes: Episodes = None,
    steps: Annotated[int | None, options.whole(1, 100, help="Each on fresh ones; as trained by default.")] = None,
    keep_better: Annotated[int, options.whole(0, 10**5, help="Keep the better by so many held-out episodes.")] = 0,
    test_episodes: Annotated[int, options.whole(1, 10**5, help="Episodes to measure the return with.")] = 20,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Publish under OUT.")] = None,
    as_json: Json = False,
) -> None:
    """Adapt a policy to an environment, to a task of its family, on recorded episodes, or to pictures of classes;
    publish it with --out.

    \b
    metazoo adapt maml_cartpole --env CartPole-v1 --env-arg length=0.8 --env-arg force_mag=-9 --out adapted
    metazoo adapt maml_cartpole_goal --task target=1.2 --steps 3 --json
    metazoo adapt maml_cartpole --episodes-file episodes.npz --out adapted
    metazoo adapt maml_cartpole --episodes-file minari:robot/monday-v0 --out adapted
    metazoo adapt maml_cartpole --episodes-file bag.json --topic-map topics.json
    metazoo adapt maml_glyphs --images letters --convert --out adapted

    Recorded episodes must be the policy's own, with its actions sampled; --off-policy takes others. --keep-better N
    plays N more episodes before and N after adapting, and keeps what it was before where that did better.
    """
    if keep_better and episodes_file is not None:
        raise ValueError(f"--keep-better is {keep_better}; it plays, so it needs --env or --task.")
    if (env is not None) + bool(task) + (episodes_file is not None) + (images is not None) != 1:
        raise ValueError("give one of --env ID, --task KEY=VALUE, --episodes-file FILE and --images DIR.")
    if images is None and (convert or test_images is not None):
        raise ValueError(f"{'--convert' if convert else '--test-images'} needs --images DIR.")
    if family is not None and not task:
        raise ValueError(f"--family is {family}; it needs --task KEY=VALUE.")
    if env_arg and env is None:
        raise ValueError(f"--env-arg is {env_arg[0]!r}; it needs --env ID.")
    if topic_map is not None and episodes_file is None:
        raise ValueError(f"--topic-map is {topic_map}; it needs --episodes-file FILE.")
    if off_policy and episodes_file is None:
        raise ValueError("--off-policy needs --episodes-file FILE.")
    family_arguments = support.family_arguments(family, family_arg)
    env_arguments, parameters = support.pairs(env_arg, "--env-arg"), support.pairs(task, "--task")
    places.directory(out, "--out")
    (version,) = _versions([name], record=False)
    if images is not None:
        from metazoo.cli import pictures

        pictures.adapt(version, images, test_images, convert, steps, out, as_json)
        return
    with support.stdout_is_for_json(as_json), progress.shown():
        support.load_tensorflow()
        import metazoo
        from metazoo.artefact.intervals import interval
        from metazoo.collect import load_episodes
        from metazoo.tasks.views import make as gym_make

        policy = metazoo.load(version)
        target: Any  # episodes or an environment
        if episodes_file is not None:
            target, label = load_episodes(episodes_file, policy.metadata, topic_map), Path(episodes_file).stem
        elif env is not None:
            target, label = gym_make.make(env, env_arguments), env.rpartition(":")[2].rpartition("/")[2]
        else:
            support.give_family(family, family_arguments, [version], record=False)
            target, label = gym_make.make_task(policy.metadata, parameters), policy.metadata["family"]
        task_name = publishable(policy, label, out)
        with progress.stage(f"adapting {policy.name}"):
            adapted = policy.adapt(
                target, episodes=episodes, steps=steps, seed=seed, off_policy=off_policy, keep_better=keep_better
            )
        made = adapted.metadata["adapted"]
        result: dict[str, Any] = {"name": policy.name, "version": policy.version, **made}
        for key, one in (("before", policy), ("after", adapted)) if episodes_file is None else ():
            with progress.stage(f"measuring the return {key} adapting"):
                returns = one.evaluate(target, episodes=test_episodes, seed=TEST_SEED + seed)
            result[key] = interval(returns)
    result["published"] = None
    try:
        if out is not None:
            result["published"] = str(adapted.publish(out, task=task_name))
    finally:  # what was measured is not lost with what fails after it
        support.print_json(result) if as_json else support.print_adapted(result)


def publishable(policy: Any, label: str, out: Path | None) -> str:
    """The label as a task's name; raises ValueError where the policy of that name in ``out`` is somebody else's."""
    from metazoo.artefact import lineage

    task_name = support.task_name(label)
    if out is not None:
        parent = lineage.Parent(policy.name, policy.version, policy.directory, policy.metadata)
        lineage.check_free(out, lineage.target(parent, task_name, out))
    return task_name
