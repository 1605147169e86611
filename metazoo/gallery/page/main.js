// Which page is shown: the address after # says it.

import * as api from "./api.js";
import { h } from "./dom.js";
import { showFile } from "./file.js";
import { showList } from "./list.js";
import { showPolicy } from "./policy.js";

const main = document.getElementById("main");
const root = document.documentElement;
const themeButton = document.getElementById("theme");
let leave = () => {};

let known = api.policies();
let first = true;

async function show() {
  const [, page, name] = (location.hash.slice(1).split("?")[0] || "/").split("/");
  const query = new URLSearchParams(location.hash.split("?")[1] ?? "");
  leave();
  leave = () => {};
  try {
    if (page === "" && !first) known = api.policies(); // some may have been adapted since
    first = false;
    const { policies, token } = await known;
    if (page === "policy") leave = await showPolicy(main, decodeURIComponent(name), { policies, needsToken: token, query });
    else if (page === "file") leave = showFile(main, { needsToken: token });
    else leave = await showList(main, policies);
  } catch (error) {
    document.title = "metazoo gallery";
    main.replaceChildren(h("h1", {}, "That did not work"), h("p", { role: "alert" }, error.message), h("p", {}, h("a", { href: "#/" }, "All policies")));
  }
}

function themed(choice) {
  if (choice) root.dataset.theme = choice;
  const dark = choice ? choice === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  themeButton.textContent = dark ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Use the ${dark ? "light" : "dark"} colours`);
  themeButton.setAttribute("aria-pressed", String(dark));
  dispatchEvent(new Event("themechange"));
}

themeButton.addEventListener("click", () => {
  const next = themeButton.textContent.toLowerCase();
  localStorage.setItem("metazoo-theme", next);
  themed(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => themed(root.dataset.theme));

addEventListener("hashchange", () => {
  show().then(() => {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  });
});
themed(localStorage.getItem("metazoo-theme"));
show();
