"""RL²: a recurrent policy that learns to learn (Duan et al. 2016, arXiv 1611.02779; Wang et al. 2016, 1611.05763).

The policy is told its previous action, its reward, and where episodes end, and keeps its recurrent state through the
episodes of a trial. Trained to maximise the return of whole trials,

max_θ E_task E_trial [Σ_episodes Σ_t γ^t r_t],

its state learns to hold what the trial has shown of the task: adapting is playing. PPO with a clipped ratio (Schulman
et al. 2017, arXiv 1707.06347) and GAE over the whole trial, back-propagated through it.

Differs from the paper: PPO instead of TRPO; the critic is no second network, but a ridge regression of the trials'
returns on the policy's recurrent states, made anew at every update (a critic that is trained beside the policy lags
behind it, and what it wrongly makes of the previous action becomes an advantage of that action); at an episode's end
one closing step shows the final observation and reward, so that the last reward of an episode is not lost; where a
family knows the means of its noisy rewards, those are learnt from; predicting rewards may be an auxiliary task.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, final

import tensorflow as tf

from metazoo import losses
from metazoo.algorithms.common import side_by_side
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.outer_step import clip
from metazoo.algorithms.common.recurrent import RecurrentLearner
from metazoo.algorithms.common.sequences import Sequence, as_sequence
from metazoo.policies.weights import Tensors
from metazoo.rollouts import returns
from metazoo.rollouts.graph import trial
from metazoo.types import Episodes


@dataclass(frozen=True)
class RL2Config(Config):
    """Settings of ``RL2``; each field's metadata holds its range and meaning."""

    tasks: int = setting(512, (1, 100_000), "trials per update")
    replicas: int = setting(1, (1, 1000), "trials of each task, compared with one another; divides tasks")
    episodes: int = setting(1, (1, 1000), "episodes in a trial")
    epochs: int = setting(4, (1, 100), "how often the same trials are gone through")
    minibatches: int = setting(1, (1, 100_000), "outer steps each time, on so many parts of the trials; divides tasks")
    clip: float = setting(0.2, (0.0, 10.0), "ε of the clipped likelihood ratio")
    gamma: float = setting(0.99, (0.0, 1.0), "discount per step, over the whole trial")
    lambda_: float = setting(0.95, (0.0, 1.0), "GAE λ", (0.8, 1.0))
    entropy: float = setting(0.01, (0.0, 1.0), "weight of the entropy bonus", (1e-4, 0.1))
    entropy_updates: int = setting(0, (0, 1_000_000), "updates over which the bonus falls linearly to 0; 0: constant")
    critic_degree: int = setting(1, (0, 5), "the critic's weights are polynomials of that degree in the time left")
    prediction: float = setting(0.0, (0.0, 100.0), "weight of predicting each action's reward (Jaderberg et al. 2017)")
    clip_norm: float = setting(0.5, (0.0, 1e6), "largest norm of the gradient; 0 leaves it alone", (0.05, 5.0))
    truncation: int = setting(0, (0, 1_000_000), "steps gradients go back; 0: through the whole trial")

    def __post_init__(self):
        super().__post_init__()
        if self.tasks % self.replicas:
            raise ValueError(f"replicas is {self.replicas}; it must divide tasks ({self.tasks}).")
        if self.tasks % self.minibatches:
            raise ValueError(f"minibatches is {self.minibatches}; it must divide tasks ({self.tasks}).")


class Batch(NamedTuple):
    """Trials with all that stays fixed during the epochs."""

    sequence: Sequence
    log_probs: tf.Tensor
    advantages: tf.Tensor
    explained: tf.Tensor
    """Share of the returns' variance that the critic explains."""
    variance: tf.Tensor
    """Of the rewards, over all steps."""
    episode_returns: tf.Tensor
    """``[M, K]``"""
    heard: tf.Tensor
    """``[L, M]``: rewards as the policy is told them."""


@final
class RL2(RecurrentLearner):
    """Memory ``[S]``: the recurrent state, zeros at first. ``adapt`` replays episodes: what playing them did."""

    name_in_registry: ClassVar[str] = "rl2"
    about: ClassVar[str] = (
        "RL² ([Duan et al. 2016](https://arxiv.org/abs/1611.02779)): a recurrent policy that is told its last "
        "action and reward and keeps its state from episode to episode, trained for the return of whole "
        "trials. It adapts by playing."
    )
    config_class: ClassVar[type[Config]] = RL2Config
    config: RL2Config

    def __init__(self, policy, family, config: RL2Config | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        self.built = True

    @property
    def env_steps_per_update(self) -> int:
        return self.config.tasks * self.config.episodes * self.family.horizon

    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Episodes]:
        """The trials as played, and as they are learnt from: with the rewards' means, where the family knows them."""
        memory = tf.broadcast_to(self.initial_memory(weights), [self.config.tasks, 1, self.memory_size])
        step = partial(self.step, weights)
        played, _ = trial(self.family, tasks, step, memory, key, self.config.episodes, first=first)
        means = self.family.mean_rewards(tasks, played.observations, played.actions)
        learnt = played if means is None else played._replace(rewards=means * played.mask)
        return tf.nest.map_structure(tf.stop_gradient, [played, learnt])

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> Batch:
        weights, episodes, learnt = list(weights), rounds[0], rounds[-1]
        sequence = as_sequence(episodes)
        heard = sequence.rewards
        sequence = sequence._replace(rewards=as_sequence(learnt).rewards)
        states = self._states(weights, sequence)
        advantages, explained = self._advantages(weights, episodes, sequence, states)
        advantages = returns.normalise(advantages, sequence.played, [0, 1])
        parameters = self.policy.parameters(weights, states, sequence.inputs)
        log_probs = self.policy.distribution.log_prob(parameters, sequence.actions)
        rewards = tf.cast(sequence.rewards, states.dtype)
        spread = losses.masked_mean((rewards - losses.masked_mean(rewards, sequence.played)) ** 2, sequence.played)
        sequence = sequence._replace(rewards=rewards)
        totals = returns.episode_returns(episodes)
        batch = Batch(sequence, log_probs, advantages, explained, spread + 1e-6, totals, heard)
        return tf.nest.map_structure(tf.stop_gradient, batch)

    def _advantages(
        self, weights: list[tf.Tensor], episodes: Episodes, sequence: Sequence, states: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """GAE ``[L, M]``, and the share of the returns' variance that the critic explains."""
        rewards = tf.cast(sequence.rewards, states.dtype)
        values, explained = self._values(weights, sequence, states, rewards)
        # a time limit that is not ours: the trial was cut off, not over; the closing step's value stands for the rest
        steps = tf.cast(tf.reduce_sum(episodes.mask[:, :, -1], 0), tf.int32)
        early = tf.reduce_any(episodes.truncated[:, :, -1], 0) & (steps < self.family.horizon)
        bootstrap, config = tf.where(early, values[-1], 0.0), self.config
        return returns.trial_advantages(
            rewards, values, sequence.played, config.gamma, config.lambda_, bootstrap
        ), explained

    def _values(
        self, weights: list[tf.Tensor], sequence: Sequence, states: tf.Tensor, rewards: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The critic: values ``[L, M]`` by regression on the cell's output and inputs, with weights polynomial in the
        time left."""
        gamma, played = self.config.gamma, tf.cast(sequence.played, states.dtype)
        decay = 1.0 - played + gamma * played  # padding takes no time
        targets = returns.scan_back(tf.zeros_like(rewards[0]), decay, rewards * played)
        parts = [self.policy.outputs(states), self.policy.features(weights, sequence.inputs, states.dtype)]
        parts.append(tf.ones_like(rewards)[..., None])
        if self.config.replicas > 1:
            parts.append(self._of_siblings(targets)[..., None])
        left = tf.linspace(tf.ones([], states.dtype), 0.0, tf.shape(rewards)[0])[:, None]
        time = left ** tf.range(self.config.critic_degree + 1, dtype=states.dtype)
        values = returns.ridge_in_time(tf.concat(parts, -1), time, targets, played)
        centred = targets - losses.masked_mean(targets, played)
        rest = losses.masked_mean((targets - values) ** 2, played)
        return values, 1.0 - rest / (losses.masked_mean(centred**2, played) + 1e-6)

    def _of_siblings(self, targets: tf.Tensor) -> tf.Tensor:
        """The mean of ``targets [L, M]`` at the same step of the other trials of a task: its own actions are not in it
        (Kool et al. 2019), so as part of a baseline it is without bias."""
        replicas = self.config.replicas
        grouped = tf.reshape(targets, [tf.shape(targets)[0], -1, replicas])
        others = (tf.reduce_sum(grouped, -1, keepdims=True) - grouped) / (replicas - 1)
        return tf.reshape(others, tf.shape(targets))

    def meta_gradient(self, weights: Tensors, batch: Batch) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        gradients, metrics = self._gradient(list(weights), batch)
        gradients, metrics["gradient_norm"] = clip(gradients, self.config.clip_norm)
        metrics["explained_variance"] = batch.explained
        by_episode = tf.reduce_mean(batch.episode_returns, 0)
        metrics["return_first"], metrics["return_last"] = by_episode[0], by_episode[-1]
        metrics["return_total"] = tf.reduce_sum(by_episode)
        return gradients, metrics

    @property
    def whole_batch(self) -> bool:
        return True

    def cut(self, batch: Batch, parts: int) -> list[Batch]:
        by_trial = side_by_side.split((batch.sequence, batch.log_probs, batch.advantages), parts, axis=1)
        return [batch._replace(sequence=one, log_probs=two, advantages=three) for one, two, three in by_trial]

    def weight_of(self, batch: Batch) -> tf.Tensor:
        """The steps played, over which all losses are means."""
        return tf.reduce_sum(batch.sequence.played)

    def parts_for(self, threads: int) -> int:
        return side_by_side.divisor(self.config.tasks // self.config.minibatches, threads)

    def minibatch(self, batch: Batch, index: tf.Tensor) -> Batch:
        """Every n-th trial: those of one task go into different ones."""
        size = self.config.minibatches
        if size == 1:
            return batch

        def some(field: tf.Tensor) -> tf.Tensor:
            """``[L, M, ...] → [L, M / n, ...]``."""
            parts = tf.reshape(field, tf.concat([tf.shape(field)[:1], [-1, size], tf.shape(field)[2:]], 0))
            parts = tf.ensure_shape(parts, [field.shape[0], self.config.tasks // size, size, *field.shape[2:]])
            return tf.gather(parts, index % size, axis=2)

        by_trial = tf.nest.map_structure(some, (batch.sequence, batch.log_probs, batch.advantages))
        return batch._replace(sequence=by_trial[0], log_probs=by_trial[1], advantages=by_trial[2])

    def learn_statistics(self, batch: Batch) -> None:
        """What was told, of the steps played: observations, and the rewards that the policy hears of them."""
        weights = self.current_weights()
        played = batch.sequence.inputs.observations, batch.heard, batch.sequence.played
        for variable, old, new in zip(
            self.meta_variables, weights, self.policy.measured(weights, *played), strict=True
        ):
            if new is not old:
                variable.assign(new)

    def _gradient(self, weights: list[tf.Tensor], batch: Batch) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Of ``trial_loss``, with the metrics that it gives; by parts of the trials if there are ``parts``.

        All of them are means over the steps played, so the whole batch's are the parts', weighted by their steps.
        """

        def gradient(part: Batch) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss, metrics = self.trial_loss(weights, part)
            return tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO), metrics

        if self.parts == 1:
            return gradient(batch)
        parts = self.cut(batch, self.parts)
        steps = [tf.cast(self.weight_of(part), weights[0].dtype) for part in parts]
        return side_by_side.mean_of_parts(gradient, parts, [one / tf.add_n(steps) for one in steps])

    def trial_loss(self, weights: list[tf.Tensor], batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """PPO's objective (Schulman et al. 2017, equation 9) without the critic's, to be minimised, and its parts."""
        config, played, distribution = self.config, batch.sequence.played, self.policy.distribution
        states = self._states(weights, batch.sequence)
        parameters = self.policy.parameters(weights, states, batch.sequence.inputs)
        log_probs = distribution.log_prob(parameters, batch.sequence.actions)
        policy_loss = losses.clipped_ratio(log_probs, batch.log_probs, batch.advantages, played, config.clip)
        entropy = losses.masked_mean(distribution.of(parameters).entropy(), played)
        error = self.policy.predicted_rewards(weights, states, batch.sequence.actions) - batch.sequence.rewards
        surprise = losses.masked_mean(error**2, played) / batch.variance
        loss = policy_loss - self._entropy_weight() * entropy + 0.5 * config.prediction * surprise
        kl = losses.masked_mean(batch.log_probs - log_probs, played)
        return loss, {"loss": loss, "policy_loss": policy_loss, "entropy": entropy, "kl": kl, "surprise": surprise}

    def _entropy_weight(self) -> tf.Tensor:
        """The bonus now: the optimizer's counter is saved with it, so a resumed run goes on where it was."""
        config, optimizer = self.config, getattr(self, "optimizer", None)
        dtype = self.network.trainable_variables[0].dtype
        if not config.entropy_updates or optimizer is None:
            return tf.constant(config.entropy, dtype)
        made = tf.cast(optimizer.iterations.value // self.epochs, dtype)
        return config.entropy * tf.maximum(1.0 - made / config.entropy_updates, 0.0)

    def _states(self, weights: list[tf.Tensor], sequence: Sequence) -> tf.Tensor:
        memory = tf.zeros([sequence.told.shape[1], self.memory_size], weights[0].dtype)
        return self.policy.states(weights, sequence.inputs, sequence.told, memory, self.config.truncation)
