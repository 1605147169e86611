"""The recurrent policies of the zoo as plain data."""

from metazoo.presets.preset import Preset


def _bandit(arms: int, pulls: int, updates: int, **changes) -> Preset:
    """A Bernoulli bandit of the RL² paper: one trial is one episode of so many pulls."""
    config = {"replicas": 4, "gamma": 1.0, "lambda_": 0.95, "entropy": 0.02, "entropy_updates": updates}
    return Preset(
        name=f"rl2_bandit_k{arms}_n{pulls}",
        description=f"Bernoulli bandit with {arms} arms, {pulls} pulls",
        family="bandit",
        family_args={"arms": arms, "horizon": pulls},
        algorithm="rl2",
        config={**config, "prediction": 0.3, **changes.pop("config", {})},
        updates=updates,
        episodes=1,
        steps=0,
        evaluation_tasks=10_000,
        **changes,
    )


RL2_PRESETS = (
    _bandit(5, 10, 2000, learning_rate=5e-3, config={"tasks": 512}),
    _bandit(10, 10, 2000, learning_rate=5e-3, config={"tasks": 512}),
    _bandit(5, 100, 4000, learning_rate=3e-3, config={"tasks": 128}),
    _bandit(10, 100, 4500, learning_rate=3e-3, config={"tasks": 512, "lambda_": 0.98, "critic_degree": 2}),
    _bandit(50, 100, 1500, learning_rate=3e-3, config={"tasks": 256, "lambda_": 0.98}),
    Preset(
        name="rl2_mdp_n10",
        description="Random tabular MDPs with 10 states and 5 actions, 10 episodes",
        family="tabular_mdp",
        algorithm="rl2",
        config={
            "tasks": 256,
            "replicas": 4,
            "episodes": 10,
            "lambda_": 0.9,
            "critic_degree": 2,
            "entropy": 0.05,
            "entropy_updates": 1500,
            "prediction": 1.0,
        },
        network={"cell": "associative", "units": 32},
        updates=1500,
        learning_rate=3e-3,
        episodes=10,
        steps=0,
        evaluation_tasks=5_000,
    ),
    Preset(
        name="rl2_navigation",
        description="2D navigation to a hidden goal, remembered from episode to episode",
        family="navigation",
        algorithm="rl2",
        config={"tasks": 128, "replicas": 2, "episodes": 3, "entropy": 0.0},
        network={"initial_scale": 0.1},
        updates=400,  # its rate has to fall as the actions' deviation does: with 1,000 updates it lost much again
        learning_rate=2e-3,
        episodes=3,
        steps=0,
        baselines=("dr_navigation",),
    ),
    Preset(
        name="rl2_cartpole_goal",
        description="CartPole that finds a hidden target position and remembers it",
        family="cartpole_goal",
        algorithm="rl2",
        config={
            "tasks": 128,
            "replicas": 2,
            "episodes": 3,
            "gamma": 0.997,
            "lambda_": 0.97,
            "entropy": 0.05,
            "entropy_updates": 1000,
            "prediction": 1.0,
        },
        updates=1000,
        learning_rate=2e-3,
        episodes=3,
        steps=0,
        baselines=("dr_cartpole_goal", "oracle_cartpole_goal"),
    ),
    Preset(
        name="rl2_pendulum",
        description="Pendulum of unknown gravity, mass and length",
        family="pendulum",
        algorithm="rl2",
        config={"tasks": 128, "replicas": 2, "episodes": 3, "entropy": 0.0, "prediction": 1.0},
        updates=600,
        learning_rate=2e-3,
        episodes=3,
        steps=0,
    ),
)
