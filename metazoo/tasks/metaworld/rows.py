"""Many Meta-World environments of one process, stepped together: ``gym.rows.SteppedRows``.

Meta-World takes most of its time for rewards and observations in Python, one environment at a time. Here a row is a
state of its kind's one simulation: the physics of one row after another, then observations, rewards and success of all
rows of a kind at once. What a reset leaves follows from the task alone, so it is made once for each task and kept.
Kinds without rewards of that form (``kinds.REWRITTEN``) are stepped by Meta-World's own code.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Protocol, final

import numpy as np
from scipy.spatial.transform import Rotation

from metazoo.artefact.spaces import CollectionError
from metazoo.tasks.gym.board import Board
from metazoo.tasks.gym.rows import Recipe, describe_task, require_finite
from metazoo.tasks.metaworld.envs import MOVED, SawyerEnv
from metazoo.tasks.metaworld.kinds import REWRITTEN, Kind, Now
from metazoo.tasks.mujoco.rows import kept, place_of

STARTS_KEPT: Final = 1000
"""Starts of tasks that a process remembers of a kind."""
USUAL: Final = ("_target_pos", "obj_init_pos", "init_tcp", "hand_init_pos")
SEEN: Final = 18
"""Numbers of an observation that tell of one moment: hand, gripper, object, and zeros."""

Tasks = Sequence[Mapping[str, Any]]


class Start(NamedTuple):
    """What a reset leaves: the state, what the model has moved, what rewards refer to, and what is seen at first."""

    state: np.ndarray
    moved: tuple[np.ndarray, ...]
    facts: tuple[np.ndarray, ...]
    seen: dict[str, np.ndarray]
    observation: np.ndarray


class Group(Protocol):
    """Rows of a kind; ``where`` are their places on the board."""

    def begin(self, board: Board, where: np.ndarray, tasks: Tasks) -> None: ...

    def step(self, board: Board, actions: np.ndarray) -> None: ...

    def close(self) -> None: ...


@final
class SawyerRows:
    """Rows of ``SawyerEnv``, of one kind or of several."""

    def __init__(self, recipe: Recipe):
        self._recipe = recipe
        self._groups: dict[str, Group] = {}
        self._playing: list[Group] = []
        self._tasks: Tasks = ()
        self._steps = 0

    def begin(self, board: Board, tasks: Tasks, seeds: Sequence[int]) -> None:
        """Begin an episode in every row of ``board``."""
        self._tasks, self._steps, self._playing = tasks, 0, []
        board.rewards.fill(0.0)
        board.successes.fill(0.0)
        names = self._recipe.arguments["env_names"]
        kinds = np.array([int(task.get("kind", 0)) for task in tasks])
        for kind in np.unique(kinds).tolist():
            where = np.flatnonzero(kinds == kind)
            group = self._group(names[kind])
            group.begin(board, where, [tasks[row] for row in where])
            self._playing.append(group)

    def step(self, board: Board) -> None:
        """Move the playing rows by their actions.

        Raises:
            CollectionError: MuJoCo fails, or a reward or an observation is not finite; names the environment, its task
                and the step.
        """
        board.rewards.fill(0.0)
        board.terminated.fill(False)
        board.truncated.fill(False)
        actions = np.clip(board.actions, -1.0, 1.0)
        for group in self._playing:
            try:
                group.step(board, actions)
            except Exception as error:
                row = int(board.current[0])
                raise CollectionError(
                    f"{self._who(row)} failed at step {self._steps} on action {actions[row]}: "
                    f"{type(error).__name__}: {error}"
                ) from error
        require_finite(board, self._who, f"at step {self._steps}")
        self._steps += 1

    def close(self) -> None:
        for group in self._groups.values():
            group.close()

    def _group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = _group(name)
        return self._groups[name]

    def _who(self, row: int) -> str:
        task = self._tasks[row]
        return f"{self._recipe.arguments['env_names'][int(task.get('kind', 0))]} with {describe_task(task)}"


def _group(name: str) -> Group:
    if name in REWRITTEN:
        return Together(name, REWRITTEN[name])
    return OneByOne(name)


@final
class OneByOne:
    """Rows that Meta-World's own code steps, an environment each."""

    def __init__(self, name: str):
        self._name = name
        self._envs: list[SawyerEnv] = []
        self._where = np.zeros(0, int)

    def begin(self, board: Board, where: np.ndarray, tasks: Tasks) -> None:
        while len(self._envs) < len(tasks):
            self._envs.append(SawyerEnv((self._name,)))
        self._where = where
        for env, row, task in zip(self._envs, where.tolist(), tasks, strict=False):
            env.set_task({"placement": task["placement"]})
            board.observations[row], _ = env.reset()

    def step(self, board: Board, actions: np.ndarray) -> None:
        for env, row in zip(self._envs, self._where.tolist(), strict=False):
            if board.playing[row]:
                board.current[0] = row
                answer = env.step(actions[row])
                board.observations[row], board.rewards[row], _, board.truncated[row], info = answer
                board.successes[row] = info["success"]

    def close(self) -> None:
        for env in self._envs:
            env.close()


@final
class Together:
    """Rows of a kind as states of one simulation."""

    def __init__(self, name: str, kind: Kind):
        self._env, self._kind = SawyerEnv((name,)), kind
        self._inner = self._env.env
        self._model, self._data = self._inner.model, self._inner.data
        self._starts: dict[bytes, Start] = {}
        self._views = views_of(self._model, self._data, kind)
        self._mocap, self._turn, self._control = (
            place_of(self._model, part) for part in ("MOCAP_POS", "MOCAP_QUAT", "CTRL")
        )
        space = self._inner.sawyer_observation_space
        self._low, self._high = space.low[:SEEN], space.high[:SEEN]

    def begin(self, board: Board, where: np.ndarray, tasks: Tasks) -> None:
        starts = [self._start(np.asarray(task["placement"])) for task in tasks]
        self._where, self._steps = where, 0
        self._states = np.stack([start.state for start in starts])
        self._moved = [start.moved for start in starts]
        names = (*USUAL, *self._kind.start)
        facts = zip(*(start.facts for start in starts), strict=True)
        self._start_facts = SimpleNamespace(**dict(zip(names, map(np.stack, facts), strict=True)))
        observations = np.stack([start.observation for start in starts])
        self._before = observations[:, :SEEN].copy()
        self._seen = {name: np.stack([start.seen[name] for start in starts]) for name in self._views}
        board.observations[where] = observations

    def step(self, board: Board, actions: np.ndarray) -> None:
        playing, actions = board.playing[self._where], actions[self._where]
        rows = np.flatnonzero(playing)
        if not rows.size:
            return
        self._steer(rows, actions)
        self._advance(board, rows)
        observed, there = self._observed(), self._where[rows]
        clipped = np.clip(observed, self._low, self._high)
        rewards, successes = self._kind.evaluate(self._now(clipped), self._start_facts, actions)
        board.observations[there, :SEEN] = clipped[rows]
        board.observations[there, SEEN : 2 * SEEN] = np.clip(self._before, self._low, self._high)[rows]
        board.rewards[there], board.successes[there] = rewards[rows], successes[rows]
        self._before[rows] = observed[rows]
        self._steps += 1
        board.truncated[there] = self._steps >= self._inner.max_path_length

    def close(self) -> None:
        self._env.close()

    def _start(self, placement: np.ndarray) -> Start:
        """What Meta-World's own reset leaves."""
        import mujoco

        key = placement.tobytes()
        if key not in self._starts:
            if len(self._starts) >= STARTS_KEPT:
                self._starts.clear()
            self._env.set_task({"placement": placement})
            observation, _ = self._env.reset()
            state = np.empty(mujoco.mj_stateSize(self._model, kept()))
            mujoco.mj_getState(self._model, self._data, state, kept())
            moved = tuple(getattr(self._model, name).copy() for name in MOVED)
            names = (*USUAL, *self._kind.start)
            facts = tuple(np.array(getattr(self._inner, name), np.float64) for name in names)
            seen = {name: view.copy() for name, view in self._views.items()}
            self._starts[key] = Start(state, moved, facts, seen, observation)
        return self._starts[key]

    def _steer(self, rows: np.ndarray, actions: np.ndarray) -> None:
        """Moves what the hand follows, in single precision as Meta-World does it, and sets the fingers' forces."""
        inner, states = self._inner, self._states
        moves = actions[rows, :3] * inner.action_scale
        states[rows, self._mocap] = np.clip(states[rows, self._mocap] + moves, inner.mocap_low, inner.mocap_high)
        states[rows, self._turn] = [1.0, 0.0, 1.0, 0.0]
        states[rows, self._control] = np.stack([actions[rows, 3], -actions[rows, 3]], 1)

    def _advance(self, board: Board, rows: np.ndarray) -> None:
        """Puts the rows' states into the simulation in turn, and keeps what is to be seen of each."""
        import mujoco

        model, data, skip, spec = self._model, self._data, self._inner.frame_skip, kept()
        targets = [getattr(model, name) for name in MOVED]
        looks = [(view, self._seen[name]) for name, view in self._views.items()]
        for row in rows.tolist():
            board.current[0], state = self._where[row], self._states[row]
            for target, moved in zip(targets, self._moved[row], strict=True):
                target[:] = moved
            mujoco.mj_setState(model, data, state, spec)
            mujoco.mj_step(model, data, nstep=skip)
            mujoco.mj_forward(model, data)  # as Meta-World does: it is also where the next step's solver starts
            mujoco.mj_getState(model, data, state, spec)
            for view, seen in looks:
                seen[row] = view

    def _observed(self) -> np.ndarray:
        """What is observed of this moment ``[n, 18]``, before it is clipped."""
        seen = self._seen
        apart = np.linalg.norm(seen["rightclaw"] - seen["leftclaw"], axis=-1)
        observed = np.zeros((len(apart), SEEN))
        observed[:, :3], observed[:, 3] = seen["hand"], np.clip(apart / 0.1, 0.0, 1.0)
        observed[:, 4:7] = seen["thing"] + self._kind.offset
        if "turned" in seen:
            observed[:, 7:11] = _quaternions(seen["turned"])
        return observed

    def _now(self, observed: np.ndarray) -> Now:
        """What rewards see beside clipped observations ``[n, 18]``."""
        seen = self._seen
        return Now(
            hand=observed[:, :3],
            opened=observed[:, 3],
            thing=observed[:, 4:7],
            tcp=(seen["rightEndEffector"] + seen["leftEndEffector"]) / 2.0,
            left=seen["leftpad"],
            right=seen["rightpad"],
            joint=seen["joint"][:, 0] if "joint" in seen else np.zeros(len(observed)),
            sites={name: seen[name] for name in self._kind.sites},
        )


def views_of(model: Any, data: Any, kind: Kind) -> dict[str, np.ndarray]:
    """Where the simulation tells what is to be seen, by name: its own memory, which steps change."""
    bodies, sites = ("hand", "rightclaw", "leftclaw", "leftpad", "rightpad"), ("rightEndEffector", "leftEndEffector")
    views = {name: data.body(name).xpos for name in bodies}
    views |= {name: data.site(name).xpos for name in (*sites, *kind.sites)}
    views["thing"] = _element(data, kind.thing).xpos
    if kind.turned:
        element = _element(data, kind.turned)
        views["turned"] = element.xquat if kind.turned[0] == "body" else element.xmat
    if kind.joint:
        views["joint"] = data.joint(kind.joint).qpos
    return views


def _element(data: Any, what: tuple[str, str]) -> Any:
    return getattr(data, what[0])(what[1])


def _quaternions(turned: np.ndarray) -> np.ndarray:
    """Quaternions ``[n, 4]`` as MuJoCo has them, or of matrices ``[n, 9]`` as SciPy does: Meta-World mixes them."""
    return turned if turned.shape[1] == 4 else Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_quat()
