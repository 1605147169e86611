"""Trainings on Ray: their weights do not depend on how many workers there are, nor on which of them die or hang."""

import os
import random
import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
import ray
import tensorflow as tf
from ray.cluster_utils import Cluster

import metazoo
from metazoo.artefact import store
from metazoo.cli.new import new
from metazoo.distributed import connect
from metazoo.distributed.replica import Recipe
from metazoo.distributed.training import OnRay
from metazoo.distributed.update import SharedUpdate
from metazoo.distributed.workers import RayWorkers
from metazoo.training import callbacks, train
from tests.distributed.tiny import MAML, NAVIGATION, TASKS, Preset, compiled, shared, values
from tests.own_families import SHORT, working_in

PLAIN = Preset(**NAVIGATION, algorithm="domain_randomised", config={**TASKS, "epochs": 2})
"""Compiled soonest; with two outer steps an update, so that workers die with batches that are still needed."""


@contextmanager
def training(preset: Preset, workers: int, shares: int = 4, time_limit: float = 600.0, begin=RayWorkers):
    """A learner whose updates Ray's workers make, and these."""
    learner, optimizer = compiled(preset)
    with begin(Recipe(preset, 0, shares, 1, "nowhere"), workers, 1, time_limit) as pool:
        learner.compile(optimizer(), jit_compile=True, elsewhere=SharedUpdate(learner, pool, shares))
        learner.optimizer.build(learner.trainable_variables)
        yield learner, pool


def updates(learner, first: int, last: int):
    for update in range(first, last):
        learner.train_step(tf.constant(update, tf.int64))


def process_of(pool, worker: int) -> int:
    return ray.get(pool._actors[worker].__ray_call__.remote(lambda self: os.getpid()))


def same(one, other):
    for mine, theirs in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture(scope="module")
def here():
    with connect.connected(connect.LOCAL, 4):
        yield


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_changes_no_bit(here):
    """Nor does it that Ray's workers are other processes than this one."""
    with training(PLAIN, 2) as (learner, pool):
        updates(learner, 0, 2)
        os.kill(process_of(pool, 1), signal.SIGKILL)
        updates(learner, 2, 4)
        assert sorted(pool._actors) == [0, 1]
    same(learner, shared(PLAIN, 4, 4)[0])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_one_two_and_four_workers_give_the_same_weights(here, workers):
    with training(MAML, workers) as (learner, _):
        updates(learner, 0, 20)
    with training(MAML, 2) as (other, _):
        updates(other, 0, 20)
    same(learner, other)


@pytest.mark.slow
def test_workers_killed_at_twenty_random_moments_change_no_bit(here):
    moments, total = random.Random(0), 400
    with training(PLAIN, 2) as (learner, pool):
        updates(learner, 0, 1)
        left, stop = [20], threading.Event()

        def kill():
            while left[0] and not stop.is_set():
                time.sleep(moments.uniform(0.5, 3.0))
                ready = [worker for worker in pool._ready if worker in pool._actors]
                if ready:
                    os.kill(process_of(pool, moments.choice(ready)), signal.SIGKILL)
                    left[0] -= 1

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        made = 1
        while left[0] or made < total:
            updates(learner, made, made + 1)
            made += 1
        stop.set()
        killer.join()
    same(learner, shared(PLAIN, made, 4)[0])


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(here):
    with training(PLAIN, 2, time_limit=20.0) as (learner, pool):
        updates(learner, 0, 1)
        hanging = process_of(pool, 0)
        os.kill(hanging, signal.SIGSTOP)
        updates(learner, 1, 3)
        assert process_of(pool, 0) != hanging
        give_up = time.monotonic() + 60.0
        while os.path.exists(f"/proc/{hanging}") and time.monotonic() < give_up:
            time.sleep(0.5)
        assert not os.path.exists(f"/proc/{hanging}")
    same(learner, shared(PLAIN, 3, 4)[0])


@pytest.mark.slow
def test_a_node_that_is_lost_leaves_its_work_to_the_others(tmp_path):
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        with connect.connected(cluster.address), training(PLAIN, 2) as (learner, pool):
            updates(learner, 0, 4)
            cluster.remove_node(nodes[0])
            updates(learner, 4, 8)
            cluster.add_node(num_cpus=1)
            updates(learner, 8, 12)
    finally:
        cluster.shutdown()
    same(learner, shared(PLAIN, 12, 4)[0])


@pytest.mark.slow
def test_a_training_that_was_interrupted_goes_on_to_the_same_bits(here, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "EPOCH", 4)
    monkeypatch.setattr(callbacks, "VALIDATION_TASKS", 3)
    elsewhere = OnRay(workers=2)
    whole = train.train(PLAIN, tmp_path / "whole", elsewhere=elsewhere)
    save = callbacks.Checkpoints.on_epoch_end
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoints, "on_epoch_end", lambda *args: (save(*args), interrupt()))
        train.train(PLAIN, tmp_path / "parts", elsewhere=elsewhere)
    with pytest.raises(ValueError, match="was trained with another shares"):
        train.train(PLAIN, tmp_path / "parts", resume=True)
    resumed = train.train(PLAIN, tmp_path / "parts", resume=True, elsewhere=OnRay(workers=1))
    one, two = store.read_checkpoint(whole), store.read_checkpoint(resumed)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert store.read_metadata(resumed)["provenance"]["command"].endswith("--ray --workers 1 --shares 4")


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_family_of_the_user_s_own_is_found_by_the_workers(here, tmp_path):
    how = {"family_args": SHORT, "settings": {"tasks": 4, "episodes": 2}, "updates": 2, "twin": False, "card": False}
    with working_in(tmp_path):
        new("family", "lift_robot", tmp_path)
        policy = metazoo.train("lift_robot:LiftRobot", "maml", ray="local", workers=2, show=False, **how)
    assert policy.metadata["provenance"]["command"].endswith("--ray --workers 2 --shares 4")


@pytest.mark.slow
def test_memory_of_driver_and_workers_stays_flat(here):
    with training(PLAIN, 2) as (learner, pool):
        updates(learner, 0, 100)
        processes = [os.getpid(), *(process_of(pool, worker) for worker in range(2))]
        before = [resident(process) for process in processes]
        updates(learner, 100, 600)
        grown = [resident(process) - start for process, start in zip(processes, before, strict=True)]
    assert max(grown) < 20e6, grown


def resident(process: int) -> int:
    """Bytes of memory."""
    with open(f"/proc/{process}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
