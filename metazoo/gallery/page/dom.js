// Elements without markup: h("a", { href }, "text", child).

export function h(tag, about = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list" && name !== "role" && !name.startsWith("aria")) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// HTML of the server's own making: a card, in which markdown-it has escaped whatever was not Markdown.
export function fragment(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const made = document.createDocumentFragment();
  made.append(...parsed.body.childNodes);
  return made;
}

export const number = (value, digits = 1) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return grouped(value).replace("-", "−");
  const places = size >= 100 ? Math.min(digits, 1) : size >= 1 ? digits : size === 0 ? digits : Math.max(digits, 2);
  return value.toFixed(places).replace("-", "−");
};

export const grouped = (value) => Math.round(value).toLocaleString("en-US");

export const plural = (count, word) => `${grouped(count)} ${count === 1 ? word : word.endsWith("y") ? word.slice(0, -1) + "ies" : word + "s"}`;

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
