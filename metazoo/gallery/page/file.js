// A file of recorded episodes: which policies it fits, how well, and adapting one by it.

import * as api from "./api.js";
import { h, number, plural } from "./dom.js";
import { tokenField } from "./token.js";

export function showFile(main, { needsToken }) {
  document.title = "My episodes · metazoo gallery";
  main.replaceChildren(h("div", { className: "prose" },
    h("h1", {}, "Which policy fits my episodes?"),
    h("p", {}, "Record a few episodes of your task and drop the file here. It stays on this server. You see which policies take it, how well it fits them, and you can adapt one and serve it."),
    needsToken && tokenField(),
    uploader(null),
    h("h2", {}, "How to record them"),
    copyable(RECORD)));
  return () => {};
}

const RECORD = `import gymnasium as gym
import metazoo
from metazoo.artefact.episodes import save_episodes
from metazoo.collect import collect

policy = metazoo.load("maml_cartpole")
played = collect(gym.make("CartPole-v1"), policy.step, episodes=5, seed=0, memory=policy.memory, horizon=200)
save_episodes("episodes.npz", played.episodes)`;

export function copyable(said) {
  const button = h("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(said);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl-C";
      getSelection().selectAllChildren(button.previousSibling);
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return h("div", { className: "copy" }, h("pre", { tabIndex: 0 }, said), button);
}

const KINDS = [".npz", ".json", ".jsonl", ".csv"];
let uploads = 0;

// `name`: of the one policy that is meant; null for all.
export function uploader(name) {
  const id = `episodes-${++uploads}`;
  const input = h("input", { id, type: "file", accept: KINDS.join(","), onchange: () => input.files[0] && check(input.files[0]) });
  const drop = h("div", { className: "drop" }, h("label", { htmlFor: id }, `Drop a file of episodes (${KINDS.join(", ")}) here, or choose one`), input);
  const found = h("div", { className: "upload", role: "status" });
  for (const event of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(event, (what) => {
      what.preventDefault();
      drop.classList.toggle("over", event === "dragenter" || event === "dragover");
      if (event === "drop" && what.dataTransfer.files[0]) check(what.dataTransfer.files[0]);
    });
  }

  async function check(file) {
    found.replaceChildren(h("p", {}, `Reading ${file.name} …`));
    try {
      const { policies } = await api.fit(file, name);
      found.replaceChildren(...fitting(policies, file, name));
    } catch (error) {
      found.replaceChildren(h("p", { className: "alert" }, error.message));
    }
  }

  return h("div", { className: "upload" }, drop, found);
}

function fitting(rows, file, name) {
  const fits = rows.filter((row) => row.fits);
  if (!fits.length) return [h("p", { className: "alert" }, name ? `It does not fit: ${rows[0].reason}.` : `None of ${plural(rows.length, "policy")} takes it. The first one says: ${rows[0].reason}.`)];
  return [
    h("p", {}, `${plural(fits[0].episodes, "episode")}, ${plural(fits[0].steps, "step")}, mean return ${number(mean(fits[0].returns))}.`),
    ...(name ? fits : fits.slice(0, 12)).map((row) => one(row, file, name === null)),
  ];
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function one(row, file, titled) {
  const said = row.diagnostics;
  const insist = h("input", { type: "checkbox", id: `insist-${row.name}-${++uploads}` });
  const task = h("input", { id: `task-${row.name}-${++uploads}`, value: taskName(file.name), pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}", maxLength: 64, required: true });
  const button = h("button", { className: "main", type: "submit" }, "Adapt and publish");
  const result = h("div", { className: "upload", role: "status" });
  const form = h("form", { className: "row", "aria-label": `Adapt ${row.name}` }, h("div", {}, h("label", { htmlFor: task.id }, "Name of the task"), task), button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    result.replaceChildren(h("p", {}, "Adapting …"));
    try {
      const done = await api.adapt(row.name, file, task.value, insist.checked);
      result.replaceChildren(...(await published(done)));
    } catch (error) {
      result.replaceChildren(h("p", { className: "alert" }, error.message));
    }
    button.disabled = false;
  });
  return h("section", { className: "upload" },
    titled && h("h3", { className: "mono" }, h("a", { href: `#/policy/${encodeURIComponent(row.name)}` }, row.name)),
    "log_prob" in said && h("p", { className: `alert ${row.refused ? "" : "good"}` }, fitSentence(said)),
    "kl" in said && h("p", {}, `A step would move it by a KL of ${number(said.kl, 3)}${"loss" in said ? `, at a loss of ${number(said.loss, 3)}` : ""}.`),
    row.doubts && h("p", { className: "alert" }, row.doubts),
    row.refused && row.diagnostics && Object.keys(said).length > 0 && [h("p", { className: "alert" }, row.refused), h("label", { className: "check", htmlFor: insist.id }, insist, "Adapt by them nevertheless: I know whose episodes they are")],
    row.refused && Object.keys(said).length === 0 ? h("p", {}, row.refused) : form,
    result);
}

function fitSentence(said) {
  const gap = said.expected_log_prob - said.log_prob;
  const how = Math.abs(gap) < 0.25 ? "They look like its own episodes" : "They do not look like its own episodes";
  return `${how}: the mean log-probability of an action is ${number(said.log_prob, 2)}, of its own samples ${number(said.expected_log_prob, 2)}.`;
}

async function published(done) {
  const { metadata } = await api.served(done.model);
  const made = [h("p", { className: "alert good" }, `Published as ${done.model}, version ${done.version}. It is served now.`), ...(done.warnings ?? []).map((said) => h("p", { className: "alert" }, said))];
  return [...made, h("p", {}, "Ask it for an action:"), copyable(curl(done.model, metadata)), h("p", {}, h("a", { href: `#/policy/${encodeURIComponent(done.model)}` }, `Look at ${done.model}`))];
}

function zeros(space) {
  if (space.type === "Discrete") return space.start ?? 0;
  if (space.type === "MultiDiscrete") return space.nvec.map(() => 0);
  return space.shape.reduceRight((inner, size) => Array(size).fill(inner), 0);
}

// A command that asks the server for one action. Policies that remember are told what they remember.
export function curl(model, metadata) {
  const observations = [zeros(metadata.observation_space)];
  const body = metadata.memory.online
    ? { signature_name: "step", inputs: { observations, previous_actions: [zeros(metadata.action_space)], previous_rewards: [0], previous_done: [false], memory: [Array(metadata.memory.size).fill(0)], seed: [0], deterministic: [true] } }
    : { signature_name: "act", inputs: { observations } };
  return `curl ${location.origin}/v1/models/${model}:predict -d '${JSON.stringify(body)}'`;
}

const taskName = (file) => file.replace(/\.(npz|jsonl?|csv)$/i, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64) || "my-task";
