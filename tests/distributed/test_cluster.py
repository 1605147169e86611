"""A policy of the zoo, trained by four nodes: a cluster whose nodes are processes of their own on this machine."""

import pytest
import ray
from ray.cluster_utils import Cluster

from metazoo.artefact import store
from metazoo.artefact.places import savedmodels_directory
from metazoo.cards.report import evaluate_preset
from metazoo.distributed.training import OnRay
from metazoo.presets.registry import PRESETS
from metazoo.training import train

NAME = "maml_navigation"
NODES = 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_nodes_train_a_policy_to_the_figure_on_its_card(tmp_path):
    """Its mean return after adaptation, on the card's test tasks, is within the card's 95 % interval, or above it."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(NODES):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        elsewhere = OnRay(cluster.address, workers=NODES)
        version = train.train(PRESETS[NAME], tmp_path, elsewhere=elsewhere)
        assert not ray.is_initialized()
    finally:
        cluster.shutdown()
    card = store.read_metadata(savedmodels_directory() / NAME / "1")["evaluation"]
    found = evaluate_preset(version, tasks=card["tasks"], baselines=False)["curve"][-1]
    print(f"{NAME}, {NODES} nodes: {found['mean']:.3f} {found['ci95']}; card: {card['curve'][-1]['ci95']}")
    assert found["mean"] >= card["curve"][-1]["ci95"][0]
