// The server's endpoints. What it refuses for the moment (429, 503) is asked again, a few times.

const KEY = "metazoo-token";
const RETRIES = 6;

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}, patient = true, read = (answer) => answer.json()) {
  const given = token.get();
  const headers = { ...options.headers, ...(given ? { Authorization: `Bearer ${given}` } : {}) };
  for (let tried = 0; ; tried++) {
    const response = await fetch(path, { ...options, headers, credentials: "same-origin" });
    if (response.ok) return read(response);
    if (patient && [429, 503].includes(response.status) && tried < RETRIES) {
      await new Promise((done) => setTimeout(done, 600 * (tried + 1)));
      continue;
    }
    const said = await response.json().catch(() => ({}));
    throw new Refused(response.status, said.error ?? `The server answered ${response.status}.`);
  }
}

const post = (path, body, type) => ask(path, { method: "POST", body, headers: { "Content-Type": type } });

export const policies = () => ask("gallery/policies");
export const policy = (name) => ask(`gallery/policies/${encodeURIComponent(name)}`);
export const previews = () => ask("gallery/page/previews.json", {}, false).catch(() => ({}));
export const tasks = (name) => ask(`gallery/tasks/${encodeURIComponent(name)}`);
export const served = (name) => ask(`zoo/v1/policies/${encodeURIComponent(name)}`);
export const play = (name, task, seed) =>
  post("gallery/play", JSON.stringify({ policy: name, task, seed }), "application/json");
const BYTES = "application/octet-stream";
const about = (file, name) => new URLSearchParams({ file: file.name, ...(name ? { policy: name } : {}) });

export const fit = (file, name) => post(`gallery/fit?${about(file, name)}`, file, BYTES);

// The server adapts by arrays; files of other kinds are read as `metazoo adapt --episodes-file` reads them.
export async function adapt(name, file, task, insist) {
  const arrays = await ask(`gallery/episodes?${about(file, name)}`, { method: "POST", body: file, headers: { "Content-Type": BYTES } }, true, (answer) => answer.blob());
  const query = new URLSearchParams({ task, ...(insist ? { off_policy: "true" } : {}) });
  const path = `zoo/v1/policies/${encodeURIComponent(name)}:adapt?${query}`;
  return ask(path, { method: "POST", body: arrays, headers: { "Content-Type": BYTES } }, false);
}
