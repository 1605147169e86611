// Where the server asks for a token: kept for this tab alone.

import * as api from "./api.js";
import { h } from "./dom.js";

export function tokenField(changed = () => {}) {
  const input = h("input", { id: "token", type: "password", autocomplete: "off", value: api.token.get() });
  input.addEventListener("change", () => {
    api.token.set(input.value.trim());
    changed();
  });
  return h("div", { className: "upload" }, h("label", { htmlFor: "token" }, "This server computes for those who have its token:"), input);
}
