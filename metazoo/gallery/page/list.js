// The first page: all policies with a picture, and filters.

import * as api from "./api.js";
import { colours, fitted } from "./canvas.js";
import { h, number, plural, still } from "./dom.js";
import { isWave, sceneOf } from "./scenes.js";

const FEATURED = ["maml_cartpole_goal", "rl2_navigation", "maml_navigation"];
const LOOP_SECONDS = 5;

// Those that adapt come first: they are what the page is about. The rest of the order is that of names.
const adapts = (one) => one.memory_size > 0;
const inOrder = (policies) => [...policies.filter(adapts), ...policies.filter((one) => !adapts(one))];

export async function showList(main, known) {
  document.title = "metazoo gallery";
  const policies = inOrder(known);
  const cards = policies.map(cardOf);
  const filters = new Filters(policies, cards);
  const featured = FEATURED.find((name) => policies.some((one) => one.name === name)) ?? policies[0]?.name;
  const films = new Films(cards, policies);
  main.replaceChildren(
    hero(featured, films),
    h("h2", { className: "sr", id: "all" }, "All policies"),
    filters.element,
    filters.count,
    h("ul", { className: "cards", "aria-label": "Policies" }, cards),
  );
  films.drawAll();
  api.previews().then((previews) => films.take(previews));
  return () => films.stop();
}

function hero(featured, films) {
  const canvases = ["before", "after"].map((when) => h("canvas", { role: "img", "aria-label": `The policy ${when} adapting, drawn` }));
  films.hero(featured, canvases);
  return h("section", { className: "hero", "aria-label": "What this is" },
    h("div", {},
      h("h1", {}, "Policies that learn your task while you watch"),
      h("p", {}, "Each was trained on a whole family of tasks. Give it one that it has never seen: after a few episodes it knows what to do."),
      h("div", { className: "row" },
        featured && h("a", { className: "button main", href: `#/policy/${featured}?surprise` }, "Watch one adapt"),
        h("a", { className: "button", href: "#/file" }, "Try my episodes"))),
    h("figure", {},
      h("div", { className: "duo" }, canvases.map((canvas, i) => h("div", { className: `pane ${i ? "after" : "before"}` }, h("header", {}, h("span", {}, i ? "After" : "Before"), h("span", {})), canvas))),
      h("figcaption", {}, "The same policy and the same task, before and after a few episodes of it.")));
}

const NAMES = { maml: "MAML", rl2: "RL²", meta_sgd: "Meta-SGD", promp: "ProMP", reptile: "Reptile", distillation: "distilled", recurrent_distillation: "distilled, recurrent", domain_randomised: "does not adapt", anil: "ANIL" };
export const algorithmName = (name) => NAMES[name] ?? name ?? "unknown";
export const familyName = (name) => (name ?? "unknown").replaceAll("_", " ");
const spacesOf = (one) => `${one.sees} → ${one.does}`;

function cardOf(one) {
  const adapted = one.adapted && `adapted here from ${one.adapted.from}`;
  return h("li", { "data-name": one.name },
    h("canvas", { role: "img", "aria-label": `A task of the family ${familyName(one.family)}` }),
    h("div", { className: "text" },
      h("h3", { className: "mono" }, h("a", { href: `#/policy/${encodeURIComponent(one.name)}` }, one.name)),
      h("p", {}, adapted || one.about || `A policy for ${familyName(one.family)}.`),
      gain(one),
      h("ul", { className: "tags", "aria-label": "About it" },
        h("li", { className: "tag" }, familyName(one.family)),
        h("li", { className: "tag" }, algorithmName(one.algorithm)),
        h("li", { className: "tag" }, spacesOf(one)))));
}

export function gain(one) {
  if (one.after === null) return h("div", { className: "gain" }, h("small", {}, one.adapted ? plural(one.adapted.episodes, "episode") + " of its task" : "not evaluated"));
  const unit = one.metric === "mse" ? "squared error" : "return";
  if (one.before_is === one.after_is) return h("div", { className: "gain" }, h("b", { className: "b" }, number(one.before)), h("small", {}, `${unit}, without adapting`));
  return h("div", { className: "gain", title: `${one.before_is} → ${one.after_is}` },
    h("b", { className: "b" }, number(one.before)), h("span", { "aria-hidden": "true" }, "→"), h("span", { className: "sr" }, "before, and"), h("b", { className: "a" }, number(one.after)), h("span", { className: "sr" }, "after adapting"), h("small", {}, unit));
}

class Filters {
  constructor(policies, cards) {
    this.policies = policies;
    this.cards = cards;
    const choice = (label, key, nameOf, of) => {
      const values = [...new Set(policies.map(of))].filter(Boolean).sort();
      const select = h("select", { id: `filter-${key}`, oninput: () => this.apply() }, h("option", { value: "" }, "All"), values.map((value) => h("option", { value }, nameOf(value))));
      return [select, of, h("div", {}, h("label", { htmlFor: select.id }, label), select)];
    };
    this.search = h("input", { id: "filter-text", type: "search", placeholder: "cartpole, hidden, maml …", oninput: () => this.apply() });
    this.choices = [
      choice("Task family", "family", familyName, (one) => one.family),
      choice("Algorithm", "algorithm", algorithmName, (one) => one.algorithm),
      choice("Sees → does", "spaces", String, spacesOf),
    ];
    this.count = h("p", { className: "count", role: "status" });
    this.element = h("form", { className: "filters", "aria-label": "Filter the policies", onsubmit: (event) => event.preventDefault() },
      h("div", {}, h("label", { htmlFor: this.search.id }, "Search"), this.search), this.choices.map((one) => one[2]));
    this.apply();
  }

  apply() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    this.policies.forEach((one, i) => {
      const said = `${one.name} ${one.about} ${one.family} ${algorithmName(one.algorithm)}`.toLowerCase();
      const fits = words.every((word) => said.includes(word)) && this.choices.every(([select, of]) => !select.value || of(one) === select.value);
      this.cards[i].hidden = !fits;
      shown += fits;
    });
    this.count.textContent = shown === this.policies.length ? plural(shown, "policy") : `${shown} of ${plural(this.policies.length, "policy")}`;
  }
}

// The pictures: a recorded play where there is one, else how such a task looks. They move while they are pointed at.
class Films {
  constructor(cards, policies) {
    this.previews = {};
    this.running = true;
    this.started = performance.now();
    this.all = cards.map((card, i) => {
      const film = { canvas: card.querySelector("canvas"), one: policies[i], hot: false };
      for (const [event, hot] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]]) {
        card.addEventListener(event, () => {
          film.hot = hot && !still();
          film.since = performance.now();
          if (!hot) this.draw(film, 1);
        });
      }
      return film;
    });
    this.redraw = () => this.drawAll();
    addEventListener("resize", this.redraw);
    addEventListener("themechange", this.redraw);
    requestAnimationFrame((now) => this.tick(now));
  }

  hero(name, canvases) {
    this.heroName = name;
    this.heroCanvases = canvases;
  }

  take(previews) {
    this.previews = previews;
    this.drawAll();
  }

  stop() {
    this.running = false;
    removeEventListener("resize", this.redraw);
    removeEventListener("themechange", this.redraw);
  }

  tick(now) {
    if (!this.running) return;
    for (const film of this.all) if (film.hot) this.draw(film, ((Math.max(0, now - film.since) / 1000 / LOOP_SECONDS) * 2) % 2);
    if (!still()) this.drawHero((Math.max(0, now - this.started) / 1000 / LOOP_SECONDS) % 1.25);
    requestAnimationFrame((next) => this.tick(next));
  }

  drawAll() {
    this.c = colours();
    this.all.forEach((film) => this.draw(film, 1));
    this.drawHero(1);
  }

  // progress: 0 to 1 plays before, 1 to 2 after; at rest the end of the play after adapting is shown
  draw(film, progress) {
    const { one, canvas } = film;
    if (canvas.offsetParent === null) return;
    const playing = film.hot && progress < 1;
    this.paint(canvas, one.name, one.family, playing ? "before" : "after", film.hot ? progress % 1 : 0.999);
  }

  drawHero(progress) {
    const family = this.all.find((film) => film.one.name === this.heroName)?.one.family;
    this.heroCanvases?.forEach((canvas, i) => this.paint(canvas, this.heroName, family, i ? "after" : "before", Math.min(progress, 0.999)));
  }

  paint(canvas, name, family, when, progress) {
    const scene = sceneOf(family);
    const preview = this.previews[name];
    const { ctx, w, h: tall } = fitted(canvas);
    const episode = preview ? preview[when] : scene.demo;
    const end = Math.max(0, (episode.states?.length ?? 1) - 1);
    const given = { episode, t: progress * end, task: preview?.task ?? scene.demo.task, colour: this.c[when], family };
    if (isWave(family)) Object.assign(given, { curve: preview?.curves?.[when], inputs: preview?.curves?.inputs, support: preview?.support });
    if (!preview && scene.demo.states.length < 2 && !scene.demo.actions) given.episode = undefined;
    scene.draw(ctx, w, tall, this.c, given);
  }
}
