// One policy: try it, use it, read its card.

import * as api from "./api.js";
import { fragment, grouped, h, number, plural } from "./dom.js";
import { uploader } from "./file.js";
import { algorithmName, familyName, gain } from "./list.js";
import { Live } from "./live.js";

export async function showPolicy(main, name, { needsToken, query }) {
  const one = await api.policy(name);
  document.title = `${name} · metazoo gallery`;
  const live = new Live(one, { needsToken, surprise: query.has("surprise"), seed: query.get("seed") });
  main.replaceChildren(
    h("a", { className: "crumb", href: "#/" }, "← All policies"),
    h("div", { className: "title" },
      h("h1", { className: "mono" }, name),
      h("p", {}, one.about || `A policy for ${familyName(one.family)}.`),
      h("ul", { className: "tags", "aria-label": "About it" }, [familyName(one.family), algorithmName(one.algorithm), `sees ${one.sees}`, `does ${one.does}`].map((said) => h("li", { className: "tag" }, said)))),
    live.element,
    h("div", { className: "below" },
      h("article", { className: "card", "aria-label": "Model card" }, h("h2", {}, "Model card"), one.card ? fragment(one.card) : h("p", {}, "It has none.")),
      h("aside", { "aria-label": "Facts, and how to use it" }, facts(one), use(one))),
  );
  live.begin();
  return () => live.stop();
}

function facts(one) {
  const rows = [
    ["Adapts in", one.adapts_in === "-" ? "does not adapt" : one.adapts_in],
    ["Before → after", gain(one)],
    ["Remembers", one.memory_size ? plural(one.memory_size, "number") : "nothing"],
    ["Weights", one.parameters ? grouped(one.parameters) : "–"],
    ["Version", String(one.version)],
  ];
  if (one.adapted) rows.unshift(["Adapted from", h("a", { href: `#/policy/${one.adapted.from}` }, one.adapted.from)]);
  if (one.litert) {
    const path = `gallery/files/${encodeURIComponent(one.name)}/${one.litert.file}`;
    rows.push(["For devices", h("a", { href: path, download: one.litert.file }, `LiteRT file, ${number(one.litert.bytes / 1000, 0)} kB`)]);
  }
  return h("section", { className: "panel facts" }, h("h2", {}, "In short"), h("dl", {}, rows.flatMap(([term, said]) => [h("dt", {}, term), h("dd", {}, said)])));
}

function use(one) {
  return h("section", { className: "panel facts" }, h("h2", {}, "Use it on your task"), uploader(one.name));
}
