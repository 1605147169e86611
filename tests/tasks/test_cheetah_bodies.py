"""Half-cheetahs of other bodies against models that MuJoCo compiles itself, and against Gymnasium's; their draws."""

import gymnasium as gym
import numpy as np
import pytest

from metazoo.tasks.mujoco.cheetah_bodies import ORIGINAL, HalfCheetahBody, HalfCheetahMass
from metazoo.tasks.mujoco.families import HalfCheetahVel, HalfCheetahVel3

pytestmark = pytest.mark.mujoco

BODIES = [
    ORIGINAL,
    {"mass": 2.0, "damping": 0.5, "head": 2.0},
    {"mass": 0.5, "damping": 2.0, "head": 0.5},
    {"mass": 2.8, "damping": 1.0, "head": 0.35},
]


def compiled(path, task):
    """What MuJoCo makes of the original's file with other numbers in it; inertias stay."""
    import mujoco

    spec, original = mujoco.MjSpec.from_file(path), mujoco.MjModel.from_xml_path(path)
    spec.compiler.inertiafromgeom, spec.compiler.settotalmass = 0, -1
    for body in spec.bodies[1:]:
        i = original.body(body.name).id
        body.mass, body.inertia = original.body_mass[i] * task["mass"], original.body_inertia[i]
        body.ipos, body.iquat, body.explicitinertial = original.body_ipos[i], original.body_iquat[i], True
    for joint in spec.joints:
        joint.damping = np.array(joint.damping) * task["damping"]
    for geom in spec.geoms:
        if geom.name != "floor":
            geom.size = np.array(geom.size) * [task["mass"], task["head"] if geom.name == "head" else 1.0, 1.0]
    return spec.compile()


@pytest.fixture(scope="module")
def body():
    from metazoo.tasks.mujoco.cheetah_envs import HalfCheetahBody as Env

    return Env()


@pytest.mark.parametrize("task", BODIES, ids=str)
def test_a_body_is_what_mujoco_compiles_from_such_a_file(body, task):
    """All that derives from the numbers too; and it moves the same, falls and contacts included."""
    import mujoco

    body.set_task(task)
    model = compiled(body.fullpath, task)
    derived = ("body_mass", "body_inertia", "dof_damping", "geom_size", "geom_rbound", "body_subtreemass")
    for field in (*derived, "dof_invweight0", "body_invweight0", "dof_M0"):
        np.testing.assert_allclose(getattr(body.model, field), getattr(model, field), rtol=1e-12, err_msg=field)
    body.reset(seed=3)
    data, contacts = mujoco.MjData(model), 0
    data.qpos[:], data.qvel[:] = body.data.qpos, body.data.qvel
    mujoco.mj_forward(model, data)  # where the solver starts from, as after a reset
    for action in np.random.default_rng(0).uniform(-1, 1, (200, 6)):
        seen, *_ = body.step(action)
        data.ctrl[:] = action
        mujoco.mj_step(model, data, nstep=5)
        contacts = max(contacts, data.ncon)
        np.testing.assert_allclose(seen, np.concatenate((data.qpos[1:], data.qvel)), rtol=1e-6, atol=1e-6)
    assert contacts >= 2


def test_a_body_changes_back(body):
    body.set_task(BODIES[1])
    body.set_task({})
    original = gym.make("HalfCheetah-v5").unwrapped.model
    for field in ("body_mass", "dof_damping", "geom_size", "geom_rbound", "body_subtreemass"):
        np.testing.assert_allclose(getattr(body.model, field), getattr(original, field), rtol=1e-12, err_msg=field)


@pytest.mark.parametrize("family", [HalfCheetahMass, HalfCheetahBody], ids=lambda family: family.name)
def test_the_original_body_is_gymnasiums_and_is_paid_for_its_height_too(family):
    made = family(workers=0, rows=1)
    task = made.sample(1)
    task = task._replace(**{name: np.ones(1, np.float32) for name in task._fields})
    theirs = gym.make("HalfCheetah-v5", ctrl_cost_weight=0.05)
    seen, _ = theirs.reset(seed=5)
    np.testing.assert_allclose(made.reset(task, np.array([5], np.uint32))[0], seen, atol=1e-6)
    for action in np.random.default_rng(5).uniform(-1, 1, (200, 6)).astype(np.float32):
        after = made.step(action[None], np.ones(1, bool))
        seen, reward, *_ = theirs.step(action)
        np.testing.assert_allclose(after.observations[0], seen, rtol=1e-5, atol=1e-5)
        assert after.rewards[0] == pytest.approx(reward + seen[0], rel=1e-5, abs=1e-5)
        assert not after.terminated[0]


def test_a_heavier_body_is_slower_to_move(body):
    """F = m a: without contacts, and with nothing but gravity, the fall does not depend on the mass; torques do."""
    speeds = []
    for mass in (0.5, 1.0, 2.0):
        body.set_task({"mass": mass})
        body.reset(seed=0)
        body.data.qpos[:], body.data.qvel[:] = 0.0, 0.0
        body.data.qpos[1] = 3.0
        body.step(np.zeros(6, np.float32))
        fallen = body.data.qvel[1]
        assert fallen == pytest.approx(-9.81 * 0.05, rel=0.02)
        body.step(np.array([1.0, 0, 0, 0, 0, 0], np.float32))
        speeds.append(abs(body.data.qvel[3]))
    assert speeds[0] > speeds[1] > speeds[2]


@pytest.mark.parametrize("family", [HalfCheetahMass, HalfCheetahBody], ids=lambda family: family.name)
def test_factors_are_uniform_in_their_logarithm(family):
    made, tasks = family(workers=0, rows=1), 2000
    train = {name: field.numpy() for name, field in made.sample(tasks, "train", 1)._asdict().items()}
    for name, values in train.items():
        octaves = np.log2(values)
        assert -1.0 <= octaves.min() < -0.99 and 0.99 < octaves.max() <= 1.0, name
        assert abs(octaves.mean()) < 4.5 / np.sqrt(3 * tasks) and abs(octaves.std() - 1 / np.sqrt(3)) < 0.02
    if len(train) > 1:
        assert np.abs(np.corrcoef(np.stack(list(train.values()))) - np.eye(len(train))).max() < 0.1
    for field in made.sample(500, "ood", 1)._asdict().values():
        values = field.numpy()
        low, high = values < 1, values > 1
        assert 0.35 <= values[low].min() <= values[low].max() <= 0.5 and values[high].min() >= 2.0
        assert values.max() <= 2.8 and 0.4 < low.mean() < 0.6


def test_velocities_to_three_are_a_family_of_their_own():
    family = HalfCheetahVel3(workers=0, rows=1)
    drawn = {split: family.sample(1000, split).velocity.numpy() for split in ("train", "ood")}
    assert 0.0 <= drawn["train"].min() < 0.02 and 2.98 < drawn["train"].max() <= 3.0
    assert drawn["ood"].min() >= 3.0 and drawn["ood"].max() <= 4.0
    assert HalfCheetahVel(workers=0, rows=1).sample(1000).velocity.numpy().max() <= 2.0
    bound = family.references(family.sample(4000, "test"))["best_fixed_velocity"].returns.mean()
    assert bound == pytest.approx(-200 * 3.0 / 4, rel=0.03)  # E|U[0, 3] − 1.5| = 3 / 4
