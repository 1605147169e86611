// The hidden parameters of a task: a slider each, or a few choices.

import { clamp, h, number } from "./dom.js";

export class Sliders {
  constructor(changed) {
    this.changed = changed;
    this.parts = [];
    this.element = h("fieldset", { className: "sliders" });
  }

  get any() {
    return this.parts.length > 0;
  }

  show(parameters) {
    this.parts = parameters.map((one, i) => (one.choices ? this.choices(one, i) : this.slider(one, i)));
    this.element.replaceChildren(h("legend", { className: "sr" }, "Parameters of the task"), ...this.parts.map((part) => part.element));
    this.surprise(12345);
  }

  slider(one, i) {
    const input = h("input", { id: `slider-${i}`, type: "range", min: one.low, max: one.high, step: one.step });
    const said = h("output", { htmlFor: input.id });
    const band = h("span", {});
    const share = (value) => (100 * (value - one.low)) / (one.high - one.low || 1);
    band.style.left = `${share(one.train[0])}%`;
    band.style.right = `${100 - share(one.train[1])}%`;
    const name = one.unit ? `${said.value} ${one.unit}` : "";
    const show = () => {
      const outside = Number(input.value) < one.train[0] - 1e-9 || Number(input.value) > one.train[1] + 1e-9;
      said.value = `${number(Number(input.value), one.step >= 1 ? 0 : 2)}${short(one.unit)}${outside && one.low >= 0 ? " (untrained)" : ""}`;
      input.setAttribute("aria-valuetext", said.value + name);
    };
    input.addEventListener("input", () => {
      show();
      this.changed();
    });
    const element = h("div", { className: "slider", title: one.unit }, h("label", { htmlFor: input.id }, one.label), said, input, h("div", { className: "range", "aria-hidden": "true", title: "Trained on" }, band));
    return { one, element, get: () => Number(input.value), set: (value) => ((input.value = String(value)), show()) };
  }

  choices(one, i) {
    const inputs = one.choices.map((value, k) => h("input", { type: "radio", name: `choice-${i}`, id: `choice-${i}-${k}`, value: String(value), onchange: () => this.changed() }));
    const element = h("div", { className: "slider" }, h("span", {}, one.label), h("span", {}),
      h("div", { className: "choices", role: "radiogroup", "aria-label": one.label }, inputs.map((input) => h("label", { htmlFor: input.id }, input, choiceName(one, Number(input.value))))));
    return { one, element, get: () => Number(inputs.find((input) => input.checked)?.value ?? one.choices[0]), set: (value) => inputs.forEach((input) => (input.checked = Math.abs(Number(input.value) - value) < 1e-6)) };
  }

  // Every parameter at random within what the policy was trained on; the seed decides.
  surprise(seed) {
    const draw = generator(seed);
    for (const { one, set } of this.parts) {
      if (one.choices) set(one.choices[Math.floor(draw() * one.choices.length)]);
      else {
        const [low, high] = one.train;
        const value = low + draw() * (high - low);
        const turned = one.low < 0 && low > 0 && draw() < 0.5; // a motor that is connected the wrong way round
        set(one.step >= 1 ? Math.round(value) : turned ? -value : value);
      }
    }
  }

  set(values) {
    for (const { one, set } of this.parts) if (one.label in values) set(clamp(values[one.label], one.low, one.high));
  }

  take(task) {
    for (const { one, set } of this.parts) set(one.place === null ? task[one.field] : [task[one.field]].flat(3)[one.place]);
  }

  // The task as the server takes it; null where only chance decides.
  task() {
    if (!this.any) return null;
    const task = {};
    for (const { one, get } of this.parts) {
      if (one.place === null) task[one.field] = get();
      else (task[one.field] ??= [])[one.place] = get();
    }
    return task;
  }

  named(otherwise) {
    return this.task() ?? otherwise;
  }

  bounds(names) {
    return names.map((name) => {
      const found = this.parts.find((part) => part.one.label === name)?.one;
      return found ? found.train[0] > 0 && found.low < 0 ? [found.low, found.high] : found.train : [0, 1];
    });
  }

  spoken() {
    return this.parts.map(({ one, get }) => `${one.label} ${number(get(), 2)}${short(one.unit)}`).join(", ");
  }
}

const short = (unit) => (unit && unit.length <= 5 ? ` ${unit}` : "");

const choiceName = (one, value) => (one.field === "direction" ? (value > 0 ? "forwards" : "backwards") : number(value, 2));

// Mulberry32: a small generator, so that a seed gives the same task again.
function generator(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
