// Try it live: choose a task, and watch the policy explore it, adapt, and play it before and after.

import * as api from "./api.js";
import { colours, fitted } from "./canvas.js";
import * as charts from "./charts.js";
import { clamp, grouped, h, number, plural, still } from "./dom.js";
import { isWave, sceneOf } from "./scenes.js";
import { Sliders } from "./sliders.js";
import { tokenField } from "./token.js";

const PLAY_SECONDS = 4.5;
const ROUND_SECONDS = 1.5;
const TRIAL_SECONDS = 4;
const PHASES = ["explore", "adapt", "play"];
const TITLES = { explore: "Explore", adapt: "Adapt", play: "Play" };
const FADE_SECONDS = 0.9;
const SOON = 3000; // ms: what took longer was compiled first

export class Live {
  constructor(one, { needsToken, surprise, seed }) {
    this.one = one;
    this.scene = sceneOf(one.family);
    this.surpriseFirst = surprise;
    this.seeds = seed === null ? null : Number(seed);
    this.result = null;
    this.phase = null;
    this.time = 0;
    this.playing = false;
    this.sliders = new Sliders(() => this.waiting());
    this.surprise = h("button", { type: "button", onclick: () => this.surprised(), disabled: true }, "Surprise me");
    this.go = h("button", { type: "button", className: "main", onclick: () => this.adapt(), disabled: true }, one.memory_size ? "Adapt" : "Play");
    this.note = h("p", {}, "Waking the simulator …");
    this.panes = ["before", "after"].map((kind) => this.pane(kind));
    this.stage = h("div", { className: "stage" }, this.panes.map((pane) => pane.element));
    this.steps = PHASES.map((phase, i) => h("button", { type: "button", disabled: true, "aria-label": `Step ${i + 1}: ${TITLES[phase]}`, onclick: () => this.enter(phase) }, h("span", { className: "n", "aria-hidden": "true" }, i + 1), TITLES[phase]));
    this.button = h("button", { type: "button", className: "quiet", onclick: () => this.toggle() }, "Pause");
    this.scrub = h("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Time", oninput: () => this.seek(this.scrub.value / 1000) });
    this.clock = h("output", { "aria-live": "off" });
    this.transport = h("div", { className: "transport", hidden: true }, this.button, this.scrub, this.clock);
    this.said = h("div", { className: "said", role: "status", "aria-live": "polite" });
    this.chart = h("canvas", { role: "img", "aria-label": "Returns" });
    this.chartTitle = h("h3", {});
    this.chartKey = h("ul", { className: "key" });
    this.mind = h("canvas", { role: "img", "aria-label": "What the memory holds" });
    this.mindText = h("p", {});
    this.mindPart = h("section", {}, h("h3", {}, "What the memory holds"), this.mind, this.mindText);
    this.readings = h("div", { className: "readings", hidden: true }, h("section", {}, this.chartTitle, this.chart, this.chartKey), this.mindPart);
    this.element = h("section", { className: "panel live", "aria-label": "Try it live" },
      h("div", { className: "task" },
        h("h2", {}, "Its task"), this.note, needsToken && tokenField(() => this.described()),
        h("div", { className: "actions" }, this.surprise, this.go), this.sliders.element),
      h("div", { className: "show" }, h("ol", { className: "phases", "aria-label": "Steps" }, this.steps.map((step) => h("li", {}, step))), this.stage, this.transport, this.said, this.readings));
    this.redraw = () => this.draw();
  }

  pane(kind) {
    const canvas = h("canvas", { role: "img", "aria-label": kind });
    const [title, value] = [h("span", {}), h("span", {})];
    canvas.addEventListener("click", (event) => this.picked(event, canvas));
    return { canvas, title, value, element: h("div", { className: `pane ${kind}` }, h("header", {}, title, value), canvas) };
  }

  begin() {
    addEventListener("resize", this.redraw);
    addEventListener("themechange", this.redraw);
    this.running = true;
    this.say(h("p", {}, this.one.memory_size ? "Choose a task, or be surprised; then let it adapt." : "This policy does not adapt: it plays every task as it is."));
    this.waiting();
    this.described();
    let last = performance.now();
    const tick = (now) => {
      if (!this.running) return;
      if (this.playing) this.advance((now - last) / 1000);
      last = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  stop() {
    this.running = false;
    removeEventListener("resize", this.redraw);
    removeEventListener("themechange", this.redraw);
  }

  async described() {
    try {
      const about = await api.tasks(this.one.name);
      this.about = about;
      this.sliders.show(about.parameters);
      const hidden = about.hidden ? ` No observation shows it: ${about.hidden}.` : "";
      const slow = about.slow ? " It runs in MuJoCo, which takes some seconds." : "";
      this.note.textContent = (about.parameters.length ? "Choose what it has to find out, or click into the picture." : "Every task has numbers of its own, too many for sliders.") + hidden + slow;
      if (!this.scene.pick) this.note.textContent = this.note.textContent.replace(", or click into the picture", "");
      this.stage.classList.toggle("pick", Boolean(this.scene.pick && about.parameters.length));
      this.surprise.disabled = this.go.disabled = false;
      if (!this.result) this.waiting();
      if (this.surpriseFirst) {
        this.surpriseFirst = false;
        this.surprised();
        this.adapt();
      }
    } catch (error) {
      this.note.replaceChildren(h("span", { className: "alert" }, error.message));
    }
  }

  seed() {
    return this.seeds === null ? Math.floor(Math.random() * 2 ** 31) : this.seeds++;
  }

  surprised() {
    this.hidden = this.seed();
    this.sliders.surprise(this.hidden);
    this.waiting();
    this.say(h("p", {}, this.sliders.any ? "A new task: the policy is not told what you see on the left." : "A new task, with numbers of its own."));
  }

  picked(event, canvas) {
    if (!this.scene.pick || !this.sliders.any) return;
    const frame = canvas.getBoundingClientRect();
    this.sliders.set(this.scene.pick(event.clientX - frame.left, event.clientY - frame.top, frame.width, frame.height, this.sliders.task() ?? {}, this.one.family));
    this.waiting();
  }

  // The task as it waits to be played.
  waiting() {
    this.result = null;
    this.phase = null;
    this.playing = false;
    this.stage.dataset.one = "";
    this.readings.hidden = this.transport.hidden = true;
    this.steps.forEach((step) => {
      step.disabled = true;
      step.removeAttribute("aria-current");
    });
    this.panes[0].title.textContent = "The task";
    this.panes[0].value.textContent = "";
    this.draw();
  }

  async adapt() {
    const task = this.sliders.task();
    const label = this.go.textContent;
    this.go.disabled = this.surprise.disabled = true;
    this.go.textContent = "Exploring …";
    const started = performance.now();
    const waits = setTimeout(() => this.say(h("p", {}, "The first play of a policy compiles it: a few seconds.")), 1500);
    try {
      this.result = await api.play(this.one.name, task, this.hidden ?? this.seed());
      this.took = performance.now() - started;
      this.hidden = undefined;
      if (!task) this.sliders.take(this.result.task);
      this.steps.forEach((step) => (step.disabled = false));
      this.readings.hidden = this.transport.hidden = false;
      this.enter(this.result.explored.length && !still() ? "explore" : "play");
      if (this.stage.getBoundingClientRect().bottom > innerHeight) this.steps[0].scrollIntoView({ behavior: still() ? "auto" : "smooth" });
    } catch (error) {
      this.say(h("p", { className: "alert" }, error.message));
    } finally {
      clearTimeout(waits);
      this.go.disabled = this.surprise.disabled = false;
      this.go.textContent = label;
    }
  }

  // --- time -------------------------------------------------------------------------------------------------------

  enter(phase) {
    this.phase = phase;
    this.time = still() ? this.length() : 0;
    this.playing = !still();
    const two = phase === "play" && this.result.adapts;
    if (two) delete this.stage.dataset.one;
    else this.stage.dataset.one = "";
    this.steps.forEach((step, i) => (PHASES[i] === phase ? step.setAttribute("aria-current", "step") : step.removeAttribute("aria-current")));
    this.announce();
    this.draw();
  }

  get trial() {
    return this.one.online;
  }

  // Seconds that the phase takes on the screen.
  length() {
    const { explored } = this.result;
    if (this.phase === "adapt") return explored.length > 1 || this.trial ? FADE_SECONDS * 2 : FADE_SECONDS;
    if (this.phase === "play") return PLAY_SECONDS * this.slow();
    if (isWave(this.one.family)) return ROUND_SECONDS;
    if (!this.trial) return ROUND_SECONDS * explored.length;
    const shown = explored[0].episodes.length;
    return shown === 1 ? TRIAL_SECONDS : Math.min(TRIAL_SECONDS, ROUND_SECONDS * 1.4) * shown;
  }

  slow() {
    return this.about?.slow ? 1.6 : 1;
  }

  advance(seconds) {
    this.time += seconds;
    if (this.time >= this.length()) {
      const next = PHASES[PHASES.indexOf(this.phase) + 1];
      if (next) return this.enter(next);
      this.time = this.length();
      this.playing = false;
    }
    this.draw();
  }

  toggle() {
    if (!this.playing && this.time >= this.length() - 1e-6) this.time = 0;
    this.playing = !this.playing;
    this.draw();
  }

  seek(share) {
    this.playing = false;
    this.time = share * this.length();
    this.draw();
  }

  // --- what is drawn ----------------------------------------------------------------------------------------------

  draw() {
    this.c = colours();
    if (!this.result) {
      this.paint(this.panes[0], { task: this.sliders.named(this.scene.demo.task), colour: this.c.before });
      this.describePane(0, "the task");
      return;
    }
    const share = this.time / this.length();
    if (this.phase === "play") this.drawPlay(share);
    else this.drawExplored(this.phase === "adapt" ? 1 : share);
    this.button.textContent = this.playing ? "Pause" : this.time >= this.length() - 1e-6 ? "Replay" : "Play";
    if (document.activeElement !== this.scrub || this.playing) this.scrub.value = String(Math.round(share * 1000));
  }

  drawExplored(share) {
    const { explored, task } = this.result;
    const c = this.c;
    if (isWave(this.one.family)) return this.drawSupport(share);
    const rounds = this.trial ? explored[0].episodes.length : explored.length;
    const place = Math.min(share * rounds, rounds - 1e-6);
    const index = Math.floor(place);
    const round = explored[this.trial ? 0 : index];
    const episode = round.episodes[this.trial ? index : 0];
    const ghosts = this.trial ? [] : round.episodes.slice(1);
    const all = explored.flatMap((one) => one.returns).length;
    const step = (place - index) * this.steps_(episode);
    const mixed = index / Math.max(1, rounds - 1) < 0.5 ? c.before : c.after;
    const trialStep = this.trial ? this.trialStep(index, step) : 0;
    this.paint(this.panes[0], { episode, t: this.drawn(episode, step), task, colour: mixed, ghosts, belief: this.belief(trialStep) });
    const said = this.trial ? (rounds > 1 ? `Exploring: episode ${index + 1} of ${round.returns.length}` : "Exploring") : `Exploring: round ${index + 1} of ${rounds}, ${plural(round.returns.length, "episode")}`;
    this.panes[0].title.textContent = said;
    const sofar = episode.rewards.slice(0, Math.floor(step)).reduce((sum, reward) => sum + reward, 0);
    this.panes[0].value.textContent = `return ${number(sofar)}`;
    this.clock.textContent = `step ${Math.floor(step)} of ${episode.rewards.length}`;
    this.describePane(0, said);
    const shown = this.trial ? index + (share >= 1 ? 1 : 0) : explored.slice(0, index + (share >= 1 ? 1 : 0)).flatMap((one) => one.returns).length;
    this.drawChart(share >= 1 ? all : shown, trialStep);
    this.drawMind(trialStep);
  }

  drawSupport(share) {
    const { explored, curves, task } = this.result;
    const episode = explored[0].episodes[0];
    const support = episode.rewards.map((_, i) => [episode.states[i][0], episode.actions[i][0]]);
    const seen = Math.ceil(share * support.length);
    const steps = curves.outputs.length - 1;
    const at = this.phase === "adapt" ? Math.min(steps, Math.floor((this.time / this.length()) * (steps + 1))) : 0;
    this.paint(this.panes[0], { task, colour: at ? this.c.after : this.c.before, curve: curves.outputs[at], inputs: curves.inputs, support: support.slice(0, seen) });
    this.panes[0].title.textContent = this.phase === "adapt" ? `Adapting: step ${at} of ${steps}` : `Exploring: ${plural(support.length, "point")}`;
    this.panes[0].value.textContent = "";
    this.clock.textContent = "";
    this.describePane(0, this.panes[0].title.textContent);
    this.drawChart(0, 0);
    this.drawMind(0);
  }

  drawPlay(share) {
    const { before, after, task, curves, explored, adapts, field } = this.result;
    const plays = adapts ? [before, after] : [after];
    const long = Math.max(...plays.map((play) => this.steps_(play.episode)));
    const step = share * long;
    const outputs = curves?.outputs ?? [];
    const support = curves && explored[0].episodes[0].rewards.map((_, i) => [explored[0].episodes[0].states[i][0], explored[0].episodes[0].actions[i][0]]);
    plays.forEach((play, i) => {
      const { episode } = play;
      const colour = adapts && i === 0 ? this.c.before : this.c.after;
      const t = Math.min(step, this.steps_(episode));
      this.paint(this.panes[i], { episode, t: this.drawn(episode, t), task, colour, curve: i ? outputs.at(-1) : outputs[0], inputs: curves?.inputs, support, places: field?.places, ways: i ? field?.after : field?.before });
      this.panes[i].title.textContent = !adapts ? "As it is" : i ? "After" : this.result.before_is ? `Before: ${this.result.before_is}` : "Before";
      const sofar = episode.rewards.slice(0, Math.floor(t + 1e-6)).reduce((sum, reward) => sum + reward, 0);
      this.panes[i].value.textContent = curves ? `error ${number(play.mean, 2)}` : `return ${number(sofar)}`;
      this.describePane(i, `${this.panes[i].title.textContent}: mean return ${number(play.mean)} over ${play.returns.length} episodes`);
    });
    this.clock.textContent = curves ? "" : `step ${Math.floor(step)} of ${long}`;
    this.drawEarned(step);
    this.drawMind(Infinity);
  }

  steps_(episode) {
    return episode.rewards.length;
  }

  // Where in the drawn states a step lies: bodies are drawn at every second one.
  drawn(episode, step) {
    return (step * (episode.states.length - 1)) / Math.max(1, episode.rewards.length);
  }

  paint(pane, given) {
    const { ctx, w, h: tall } = fitted(pane.canvas);
    this.scene.draw(ctx, w, tall, this.c, { ...given, family: this.one.family });
  }

  describePane(i, said) {
    const label = `${said}. ${this.sliders.spoken()}`;
    if (this.panes[i].canvas.getAttribute("aria-label") !== label) this.panes[i].canvas.setAttribute("aria-label", label);
  }

  // --- memory -----------------------------------------------------------------------------------------------------

  belief(trialStep) {
    const { belief } = this.result;
    return belief && { ...belief, values: belief.values[this.beliefTime(trialStep)] };
  }

  // Which step of the whole trial: its episodes one after another, each with a closing step.
  trialStep(index, step) {
    const before = this.result.explored[0].episodes.slice(0, index).reduce((sum, one) => sum + one.rewards.length + 1, 0);
    return before + Math.floor(step);
  }

  beliefTime(trialStep) {
    const steps = this.result.belief.steps;
    return Math.max(0, steps.findLastIndex((one) => one <= trialStep));
  }

  drawMind(trialStep) {
    const { belief, probabilities, task, field } = this.result;
    const rows = probabilities;
    const armed = rows && task.means;
    this.mindPart.hidden = false;
    if (armed) {
      this.mind.hidden = false;
      const best = task.means.indexOf(Math.max(...task.means));
      charts.probabilities(this.mind, this.c, { rows, t: Math.min(trialStep, rows.length), best, name: "arm" });
      const last = rows[Math.max(0, Math.min(rows.length, Math.floor(trialStep)) - 1)];
      this.mindText.textContent = `Darker: likelier to be pulled next. The best arm is ${best + 1}; its probability is ${number(100 * last[best], 0)} %.`;
      this.mind.setAttribute("aria-label", this.mindText.textContent);
    } else if (belief) {
      this.mind.hidden = false;
      const truth = Object.values(task).flat(2);
      const at = this.beliefTime(trialStep);
      charts.beliefs(this.mind, this.c, { names: belief.names, values: belief.values[at], r2: belief.r2, truth, bounds: this.sliders.bounds(belief.names) });
      this.mindText.textContent = "Line: the task. Dot: what a linear probe reads from its memory; R² says how well it reads, on other tasks.";
      this.mind.setAttribute("aria-label", belief.names.map((name, k) => `${name}: read ${number(belief.values[at][k], 2)}, true ${number(truth[k], 2)}`).join("; "));
    } else {
      this.mind.hidden = true;
      const size = this.one.memory_size;
      const steps = this.one.steps;
      this.mindText.textContent = !size ? "Nothing: this policy carries nothing from one step to the next."
        : this.trial ? `${plural(size, "number")}, changed at every step.`
          : `All its weights: ${grouped(size)} numbers, moved by ${plural(steps ?? 1, "gradient step")} made from the episodes on the left.${field ? " The violet arrows in the pictures say where it would go from each place." : ""}`;
    }
  }

  // --- charts -----------------------------------------------------------------------------------------------------

  drawChart(shown, trialStep) {
    const { explored, before, after, task, curves } = this.result;
    const rewards = explored[0]?.episodes[0]?.rewards ?? [];
    if (!explored.length) return this.drawEarned(0);
    if (curves) {
      this.chartTitle.textContent = "The error falls";
      charts.returns(this.chart, this.c, { rounds: [], shown: 0, before: before.mean, after: after.mean, unit: "mean squared error, before and after" });
      return this.key(["before", `before ${number(before.mean, 2)}`], ["after", `after ${number(after.mean, 2)}`]);
    }
    if (this.trial && explored[0].returns.length === 1) {
      this.chartTitle.textContent = "Mean reward of a step, so far";
      const best = task.means ? Math.max(...task.means) : null;
      charts.running(this.chart, this.c, { rewards, shown: trialStep, best, unit: "step of the trial" });
      return this.key(["after", "the policy, learning"], ...(best === null ? [] : [["goal", "the best arm"]]));
    }
    this.chartTitle.textContent = "Return while adapting";
    charts.returns(this.chart, this.c, { rounds: explored.map((one) => one.returns), shown, before: before.mean, after: this.phase === "adapt" ? after.mean : null, unit: "episodes, one after another" });
    this.key(["before", "before"], ["after", this.phase === "adapt" ? "after" : "while adapting"]);
  }

  drawEarned(step) {
    const { before, after, curves, adapts } = this.result;
    if (curves) return this.drawChart(0, 0);
    this.chartTitle.textContent = "Return, growing";
    charts.earned(this.chart, this.c, { before: adapts ? before.episode : after.episode, after: after.episode, t: step, unit: "step of the episode" });
    this.chart.setAttribute("aria-label", `Return growing over an episode: before ${number(before.mean)}, after ${number(after.mean)} on average`);
    if (adapts) this.key(["before", "before"], ["after", "after"]);
    else this.key(["after", "as it is"]);
  }

  key(...entries) {
    const said = entries.flat().join();
    if (this.keySaid === said) return;
    this.keySaid = said;
    this.chartKey.replaceChildren(...entries.map(([kind, text]) => h("li", { className: kind }, h("span", {}, text))));
  }

  // --- words ------------------------------------------------------------------------------------------------------

  say(...children) {
    this.said.replaceChildren(...children);
  }

  announce() {
    const { before, after, explored, curves, adapts } = this.result;
    const episodes = explored.flatMap((one) => one.returns).length;
    if (this.phase === "explore") return this.say(h("p", {}, curves ? "It sees a few points of the curve." : this.trial ? "It plays, and remembers what happens." : `It plays ${plural(episodes, "episode")} as it is, and learns from them.`));
    if (this.phase === "adapt") return this.say(h("p", {}, this.trial ? "What it has seen is in its memory now." : `${plural(this.one.steps ?? 1, "gradient step")}: its weights have moved.`));
    const gain = after.mean - before.mean;
    const what = curves ? "error" : "return";
    const mean = `mean of ${plural(after.returns.length, "episode")}${this.took && this.took < SOON ? `; answered in ${grouped(this.took)} ms` : ""}`;
    if (!adapts) return this.say(h("span", { className: "big" }, `${number(after.mean)}`), h("p", {}, `${what}, ${mean}. It does not adapt.`));
    this.say(
      h("span", { className: "big gain", "data-before": before.mean, "data-after": after.mean }, h("span", { className: "b" }, number(before.mean, curves ? 2 : 1)), " → ", h("span", { className: "a" }, number(after.mean, curves ? 2 : 1))),
      h("p", {}, `${gain >= 0 ? "+" : ""}${number(gain, curves ? 2 : 1)} ${what} per episode, ${mean}.`));
  }
}
