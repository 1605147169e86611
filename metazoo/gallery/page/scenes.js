// How the tasks of each family look. A scene draws one moment of one episode:
//   draw(ctx, w, h, c, { episode, t, task, colour, ghosts, belief })
// c are the page's colours, `colour` that of who plays; `ghosts` are other episodes of the round; `belief` is what the
// memory is read to say at that moment ({ names, values, r2 }). `pick` turns a place
// on the canvas into parameters. `episode` may be missing: then the task is drawn as it waits.

import { box, dot, line, ring, stateAt, text, withAlpha } from "./canvas.js";
import { clamp } from "./dom.js";

const READABLE = 0.3; // R² of the probe

function sky(ctx, w, h, c) {
  ctx.fillStyle = c.sky;
  ctx.fillRect(0, 0, w, h);
}

const flag = (ctx, x, y, size, colour) => {
  line(ctx, [[x, y], [x, y - size]], colour, 2.5);
  ctx.beginPath();
  ctx.moveTo(x, y - size);
  ctx.lineTo(x + size * 0.55, y - size * 0.78);
  ctx.lineTo(x, y - size * 0.55);
  ctx.fillStyle = colour;
  ctx.fill();
};

const cross = (ctx, x, y, r, colour) => {
  line(ctx, [[x - r, y], [x + r, y]], colour, 2.5);
  line(ctx, [[x, y - r], [x, y + r]], colour, 2.5);
  ring(ctx, x, y, r * 0.62, colour, 2);
};

// What a memory is read to say of a parameter, where it can be read at all.
const believed = (belief, name) => {
  const k = belief ? belief.names.indexOf(name) : -1;
  return k < 0 || belief.r2[k] < READABLE ? null : belief.values[k];
};

// --- carts --------------------------------------------------------------------------------------------------------

const cart = {
  place: (w) => (x) => w / 2 + (x * w) / 5.4,
  draw(ctx, w, h, c, { episode, t = 0, task, colour, belief }) {
    sky(ctx, w, h, c);
    const at = cart.place(w);
    const unit = w / 5.4;
    const ground = h * 0.74;
    ctx.fillStyle = c.ground;
    ctx.fillRect(0, ground, w, h - ground);
    line(ctx, [[at(-2.4), ground], [at(2.4), ground]], c.track, 3);
    for (const end of [-2.4, 2.4]) line(ctx, [[at(end), ground - 8], [at(end), ground + 8]], c.track, 3);
    const [x, , angle] = episode ? stateAt(episode.states, t) : [0, 0, 0.04];
    if (task.target !== undefined) {
      const goal = at(task.target);
      withAlpha(ctx, 0.16, () => {
        ctx.fillStyle = c.goal;
        ctx.beginPath();
        ctx.moveTo(goal - unit, ground);
        ctx.lineTo(goal, ground - h * 0.5);
        ctx.lineTo(goal + unit, ground);
        ctx.fill();
      });
      flag(ctx, goal, ground + 2, Math.min(h * 0.26, 46), c.goal);
    }
    const mind = believed(belief, "target");
    if (mind !== null) cross(ctx, at(clamp(mind, -2.4, 2.4)), ground + h * 0.11, 8, c.belief);
    if (episode) {
      const from = Math.max(0, Math.floor(t) - 70);
      const trail = episode.states.slice(from, Math.floor(t) + 1);
      trail.forEach(([past], i) => withAlpha(ctx, (0.35 * i) / trail.length, () => dot(ctx, at(past), ground + h * 0.11, 3, colour)));
    }
    const size = clamp(w * 0.085, 24, 52);
    const tall = size * 0.5;
    const length = 2 * (task.half_length ?? 0.5) * unit * 0.95;
    const [px, py] = [at(x), ground - tall - 4];
    const thick = clamp(4 + 16 * (task.pole_mass ?? 0.1), 4, 10);
    box(ctx, px - size / 2, py, size, tall, 6, colour);
    for (const side of [-0.28, 0.28]) {
      dot(ctx, px + side * size, ground - 3, 5, c.ink);
      dot(ctx, px + side * size, ground - 3, 2, c.surface);
    }
    line(ctx, [[px, py + 3], [px + length * Math.sin(angle), py + 3 - length * Math.cos(angle)]], c.ink, thick);
    dot(ctx, px, py + 3, thick * 0.75, c.surface);
    const fell = episode && t >= episode.states.length - 1.01 && (Math.abs(angle) > 0.2 || Math.abs(x) > 2.39);
    if (fell) text(ctx, Math.abs(x) > 2.39 ? "left the track" : "fell", w / 2, h * 0.12, c.muted, 14, "center", 600);
  },
  pick: (x, y, w) => ({ target: clamp(((x - w / 2) * 5.4) / w, -1.9, 1.9) }),
  demo: { task: { target: 0.9, half_length: 0.62 }, states: [[-0.9, 0, -0.06, 0], [0.75, 0, 0.05, 0]] },
};

// --- the plane ----------------------------------------------------------------------------------------------------

// A way of at most 0.1 along each axis, drawn shorter where it is.
function arrow(ctx, x, y, [dx, dy], unit, colour) {
  const length = Math.min(1, Math.hypot(dx, dy) / 0.1);
  const reach = unit * 0.085 * length;
  const angle = Math.atan2(-dy, dx);
  const [ex, ey] = [x + reach * Math.cos(angle), y + reach * Math.sin(angle)];
  line(ctx, [[x, y], [ex, ey]], colour, 1.5);
  const head = Math.min(6, unit * 0.025) * (0.4 + 0.6 * length);
  const side = (turn) => [ex - head * Math.cos(angle + turn), ey - head * Math.sin(angle + turn)];
  line(ctx, [side(0.5), [ex, ey], side(-0.5)], colour, 1.5);
}

const plane = {
  geometry: (w, h) => {
    const unit = Math.min(w, h) / 1.5;
    return { unit, x: (v) => w / 2 + v * unit, y: (v) => h / 2 - v * unit };
  },
  draw(ctx, w, h, c, { episode, t = 0, task, colour, ghosts = [], belief, places = [], ways = [] }) {
    sky(ctx, w, h, c);
    const { unit, x, y } = plane.geometry(w, h);
    for (let i = -5; i <= 5; i++) {
      line(ctx, [[x(i / 10), y(-0.5)], [x(i / 10), y(0.5)]], c.ground, 1);
      line(ctx, [[x(-0.5), y(i / 10)], [x(0.5), y(i / 10)]], c.ground, 1);
    }
    ctx.strokeStyle = c.track;
    ctx.lineWidth = 1.5;
    ctx.strokeRect(x(-0.5), y(0.5), unit, unit);
    dot(ctx, x(0), y(0), 4, c.track);
    const goal = task.goal ?? [0.3, 0.2];
    for (const [r, alpha] of [[22, 0.12], [14, 0.2]]) withAlpha(ctx, alpha, () => dot(ctx, x(goal[0]), y(goal[1]), r, c.goal));
    ring(ctx, x(goal[0]), y(goal[1]), 8, c.goal, 2.5);
    dot(ctx, x(goal[0]), y(goal[1]), 3.5, c.goal);
    withAlpha(ctx, 0.55, () => places.forEach(([a, b], i) => arrow(ctx, x(a), y(b), ways[i], unit, c.belief)));
    ghosts.forEach((ghost) => withAlpha(ctx, 0.4, () => line(ctx, ghost.states.slice(0, Math.floor(t) + 1).map(([a, b]) => [x(a), y(b)]), colour, 1.5)));
    if (episode) {
      const way = episode.states.slice(0, Math.floor(t) + 1);
      const here = stateAt(episode.states, t);
      const points = [...way, here].map(([a, b]) => [x(a), y(b)]);
      line(ctx, points, colour, 2.5);
      withAlpha(ctx, 0.25, () => dot(ctx, x(here[0]), y(here[1]), 13, colour));
      dot(ctx, x(here[0]), y(here[1]), 7, colour);
    } else dot(ctx, x(0), y(0), 7, colour);
    const mind = [believed(belief, "goal x"), believed(belief, "goal y")];
    if (mind[0] !== null && mind[1] !== null) cross(ctx, x(clamp(mind[0], -0.78, 0.78)), y(clamp(mind[1], -0.78, 0.78)), 9, c.belief);
  },
  pick(px, py, w, h) {
    const { unit } = plane.geometry(w, h);
    return { "goal x": clamp((px - w / 2) / unit, -0.7, 0.7), "goal y": clamp((h / 2 - py) / unit, -0.7, 0.7) };
  },
  demo: { task: { goal: [0.34, 0.26] }, states: [[0, 0], [0.12, -0.07], [0.23, 0.03], [0.3, 0.17], [0.34, 0.25]] },
};

// --- pendulums ----------------------------------------------------------------------------------------------------

const pendulum = {
  draw(ctx, w, h, c, { episode, t = 0, task, colour, belief }) {
    sky(ctx, w, h, c);
    const seen = episode ? stateAt(episode.states, t) : [-0.8, 0.6, 0];
    const angle = Math.atan2(seen[1], seen[0]);
    const reach = Math.min(w, h) * (0.3 + 0.07 * ((task.length ?? 1) - 1) * 2);
    const [cx, cy] = [w / 2, h / 2];
    ring(ctx, cx, cy, reach, c.ground, 2);
    const end = (a, r = reach) => [cx - r * Math.sin(a), cy - r * Math.cos(a)];
    const goal = task.target ?? 0;
    line(ctx, [[cx, cy], end(goal)], c.goal, 2, [5, 6]);
    ring(ctx, ...end(goal), 10, c.goal, 2.5);
    const mind = believed(belief, "target");
    if (mind !== null) cross(ctx, ...end(mind, reach * 1.17), 8, c.belief);
    const bob = end(angle);
    line(ctx, [[cx, cy], bob], colour, clamp(6 + 4 * ((task.mass ?? 1) - 1), 5, 12));
    dot(ctx, ...bob, clamp(9 + 7 * ((task.mass ?? 1) - 0.8), 8, 18), colour);
    dot(ctx, cx, cy, 6, c.ink);
    dot(ctx, cx, cy, 2.5, c.surface);
  },
  demo: { task: {}, states: [[-0.9, 0.4, 0], [0.2, 0.98, 0], [0.97, 0.22, 0]] },
};

const acrobot = {
  draw(ctx, w, h, c, { episode, t = 0, task, colour }) {
    sky(ctx, w, h, c);
    const s = episode ? stateAt(episode.states, t) : [0.8, 0.6, 0.5, 0.86];
    const a = Math.atan2(s[1], s[0]);
    const b = a + Math.atan2(s[3], s[2]);
    const unit = Math.min(w, h) * 0.21;
    const [cx, cy] = [w / 2, h / 2];
    line(ctx, [[w * 0.15, cy - unit], [w * 0.85, cy - unit]], c.goal, 2, [6, 6]);
    const elbow = [cx + unit * (task.link_length_1 ?? 1) * Math.sin(a), cy + unit * (task.link_length_1 ?? 1) * Math.cos(a)];
    const tip = [elbow[0] + unit * Math.sin(b), elbow[1] + unit * Math.cos(b)];
    line(ctx, [[cx, cy], elbow], c.body, 9);
    line(ctx, [elbow, tip], colour, 9);
    for (const [x, y] of [[cx, cy], elbow]) dot(ctx, x, y, 6, c.ink);
  },
  demo: { task: {}, states: [[0.4, 0.9, 0.2, 0.97, 0, 0]] },
};

const hill = {
  draw(ctx, w, h, c, { episode, t = 0, colour }) {
    sky(ctx, w, h, c);
    const x = (v) => ((v + 1.25) / 1.9) * w;
    const y = (v) => h * 0.86 - (Math.sin(3 * v) * 0.45 + 0.55) * h * 0.62;
    const points = Array.from({ length: 60 }, (_, i) => -1.25 + (1.9 * i) / 59).map((v) => [x(v), y(v)]);
    ctx.beginPath();
    points.forEach(([a, b], i) => (i ? ctx.lineTo(a, b) : ctx.moveTo(a, b)));
    ctx.lineTo(w, h);
    ctx.lineTo(0, h);
    ctx.fillStyle = c.ground;
    ctx.fill();
    line(ctx, points, c.track, 3);
    flag(ctx, x(0.45), y(0.45), 36, c.goal);
    const [v] = episode ? stateAt(episode.states, t) : [-0.5];
    dot(ctx, x(v), y(v) - 10, 10, colour);
  },
  demo: { task: {}, states: [[-0.5, 0], [0.2, 0]] },
};

// --- bandits ------------------------------------------------------------------------------------------------------

const bandit = {
  draw(ctx, w, h, c, { episode, t = 0, task, colour }) {
    sky(ctx, w, h, c);
    const means = task.means ?? [0.3, 0.7, 0.5];
    const n = means.length;
    const pulls = Array(n).fill(0);
    const wins = Array(n).fill(0);
    const made = episode ? Math.min(Math.floor(t), episode.actions.length) : 0;
    for (let i = 0; i < made; i++) {
      pulls[episode.actions[i]]++;
      wins[episode.actions[i]] += Math.max(0, episode.rewards[i]);
    }
    const [top, bottom, left, right] = [h * 0.13, h * 0.82, w * 0.05, w * 0.95];
    const slot = (right - left) / n;
    const wide = slot * 0.62;
    const most = episode ? Math.max(episode.actions.length, 1) : 1;
    const level = (v) => bottom - clamp(v, 0, 1.05) * (bottom - top);
    const best = means.indexOf(Math.max(...means));
    line(ctx, [[left, bottom], [right, bottom]], c.track, 2);
    means.forEach((mean, arm) => {
      const x = left + slot * (arm + 0.5);
      const last = made > 0 && episode.actions[made - 1] === arm && made < most;
      const full = level(pulls[arm] / most);
      const won = level(wins[arm] / most);
      withAlpha(ctx, 0.35, () => box(ctx, x - wide / 2, full, wide, bottom - full, 4, colour));
      box(ctx, x - wide / 2, won, wide, bottom - won, 4, colour);
      line(ctx, [[x - wide * 0.68, level(mean)], [x + wide * 0.68, level(mean)]], c.goal, arm === best ? 4 : 2.5);
      if (arm === best) flag(ctx, x + wide * 0.5, level(mean), 18, c.goal);
      if (last) {
        const paid = episode.rewards[made - 1] > 0.5;
        dot(ctx, x, top - h * 0.06, 6, paid ? c.goal : c.track);
      }
      text(ctx, slot < 46 ? `${arm + 1}` : `arm ${arm + 1}`, x, h * 0.89, c.muted, w < 260 ? 10 : 12, "center");
      if (pulls[arm] && wide > 22) text(ctx, `${pulls[arm]}×`, x, h * 0.955, c.ink, w < 260 ? 10 : 12, "center", 650);
    });
  },
  demo: { task: { means: [0.25, 0.5, 0.85, 0.4, 0.6] }, actions: [0, 1, 2, 3, 4, 2, 2, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2], rewards: [0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1], states: Array(21).fill([1]) },
};

// --- grids --------------------------------------------------------------------------------------------------------

const grid = {
  size: (task, family) => (family === "darkroom" ? 10 : 5),
  geometry(w, h, n) {
    const unit = (Math.min(w, h) * 0.86) / n;
    return { unit, x: (v) => w / 2 + (v - n / 2) * unit, y: (v) => h / 2 - (v + 1 - n / 2) * unit };
  },
  draw(ctx, w, h, c, { episode, t = 0, task, colour, belief, family }) {
    sky(ctx, w, h, c);
    const n = grid.size(task, family);
    const { unit, x, y } = grid.geometry(w, h, n);
    const visits = {};
    (episode?.states ?? []).slice(0, Math.floor(t) + 1).forEach(([a, b]) => (visits[`${a},${b}`] = (visits[`${a},${b}`] ?? 0) + 1));
    for (let a = 0; a < n; a++) {
      for (let b = 0; b < n; b++) {
        box(ctx, x(a) + 1.5, y(b) + 1.5, unit - 3, unit - 3, 5, c.ground);
        const seen = visits[`${a},${b}`];
        if (seen) withAlpha(ctx, clamp(0.12 + 0.08 * seen, 0, 0.5), () => box(ctx, x(a) + 1.5, y(b) + 1.5, unit - 3, unit - 3, 5, colour));
      }
    }
    const goal = task.goal ?? [n - 2, n - 1];
    flag(ctx, x(goal[0]) + unit * 0.38, y(goal[1]) + unit * 0.84, unit * 0.66, c.goal);
    const mind = [believed(belief, "goal x"), believed(belief, "goal y")];
    if (mind[0] !== null && mind[1] !== null) cross(ctx, x(clamp(mind[0], 0, n - 1)) + unit / 2, y(clamp(mind[1], 0, n - 1)) + unit / 2, unit * 0.24, c.belief);
    const [a, b] = episode ? stateAt(episode.states, t) : [0, 0];
    dot(ctx, x(a) + unit / 2, y(b) + unit / 2, unit * 0.28, colour);
  },
  pick(px, py, w, h, task, family) {
    const n = grid.size(task, family);
    const { unit } = grid.geometry(w, h, n);
    const cell = (v) => clamp(Math.floor(v), 0, n - 1);
    return { "goal x": cell((px - w / 2) / unit + n / 2), "goal y": cell((h / 2 - py) / unit + n / 2) };
  },
  demo: { task: { goal: [3, 3] }, states: [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [2, 3], [3, 3]] },
};

const mdp = {
  draw(ctx, w, h, c, { episode, t = 0, task, colour }) {
    sky(ctx, w, h, c);
    const states = episode?.states ?? [[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]];
    const n = states[0].length;
    const where = (i) => [w / 2 + Math.min(w, h) * 0.36 * Math.sin((2 * Math.PI * i) / n), h / 2 - Math.min(w, h) * 0.36 * Math.cos((2 * Math.PI * i) / n)];
    const number = (state) => state.indexOf(Math.max(...state));
    const way = states.slice(0, Math.floor(t) + 1).map(number);
    const best = (i) => (task.rewards ? Math.max(...task.rewards[i]) : 1);
    line(ctx, way.map(where), colour, 2);
    for (let i = 0; i < n; i++) {
      const [x, y] = where(i);
      withAlpha(ctx, 0.9, () => dot(ctx, x, y, clamp(9 + 3 * best(i), 8, 22), c.ground));
      ring(ctx, x, y, clamp(9 + 3 * best(i), 8, 22), c.track, 1.5);
      text(ctx, `${i + 1}`, x, y, c.muted, 11, "center");
    }
    const here = where(way.at(-1));
    dot(ctx, ...here, 9, colour);
    const paid = (episode?.rewards ?? []).slice(0, Math.floor(t)).reduce((a, b) => a + b, 0);
    if (episode) text(ctx, `earned ${paid.toFixed(1)}`, w / 2, h / 2, c.ink, 14, "center", 650);
  },
  demo: { task: {}, states: [0, 3, 7, 5, 5].map((i) => Array.from({ length: 10 }, (_, k) => Number(k === i))), rewards: [1, 2, 2, 3] },
};

// --- regression ---------------------------------------------------------------------------------------------------

const wave = {
  draw(ctx, w, h, c, { task, colour, curve, inputs, support }) {
    sky(ctx, w, h, c);
    const high = Math.max(5.4, (task.amplitude ?? 3) * 1.15);
    const x = (v) => w / 2 + (v / 5.2) * (w / 2);
    const y = (v) => h / 2 - (clamp(v, -high, high) / high) * (h / 2 - 8);
    line(ctx, [[0, h / 2], [w, h / 2]], c.ground, 1.5);
    line(ctx, [[w / 2, 0], [w / 2, h]], c.ground, 1.5);
    const xs = inputs ?? Array.from({ length: 101 }, (_, i) => -5 + i / 10);
    const truth = xs.map((v) => [x(v), y((task.amplitude ?? 3) * Math.sin(v - (task.phase ?? 1)))]);
    line(ctx, truth, c.goal, 3, [2, 7]);
    if (curve) line(ctx, xs.map((v, i) => [x(v), y(curve[i])]), colour, 3);
    (support ?? []).forEach(([a, b]) => {
      dot(ctx, x(a), y(b), 5.5, c.ink);
      dot(ctx, x(a), y(b), 2.5, c.surface);
    });
  },
  demo: { task: { amplitude: 3.6, phase: 0.8 }, states: [[0]] },
};

// --- bodies -------------------------------------------------------------------------------------------------------

const body = {
  draw(ctx, w, h, c, { episode, t = 0, task, colour }) {
    sky(ctx, w, h, c);
    const unit = Math.min(w / 3.4, h / 2);
    const ground = h * 0.82;
    const lines = episode ? episode.states[Math.min(Math.floor(t), episode.states.length - 1)] : standing;
    const middle = lines.reduce((sum, one) => sum + (one[0] + one[2]) / 2, 0) / lines.length;
    const x = (v) => w / 2 + (v - middle) * unit;
    ctx.fillStyle = c.ground;
    ctx.fillRect(0, ground, w, h - ground);
    line(ctx, [[0, ground], [w, ground]], c.track, 2);
    for (let metre = Math.ceil(middle - w / 2 / unit); metre <= middle + w / 2 / unit; metre++) {
      line(ctx, [[x(metre), ground], [x(metre), ground + 7]], c.track, 2);
      text(ctx, `${metre} m`.replace("-", "−"), x(metre), ground + 18, c.muted, 11, "center");
    }
    for (const [a, b, d, e, r] of lines) line(ctx, [[x(a), ground - b * unit], [x(d), ground - e * unit]], colour, Math.max(3, 2 * r * unit));
    if (task.direction !== undefined) {
      const way = Math.sign(task.direction);
      const [ax, ay] = [w / 2, h * 0.14];
      line(ctx, [[ax - 26 * way, ay], [ax + 26 * way, ay]], c.goal, 4);
      line(ctx, [[ax + 16 * way, ay - 9], [ax + 26 * way, ay], [ax + 16 * way, ay + 9]], c.goal, 4);
    } else if (task.velocity !== undefined) text(ctx, `wanted: ${task.velocity.toFixed(2)} m/s`, w / 2, h * 0.12, c.goal, 14, "center", 650);
  },
  demo: { task: { direction: 1 }, states: [] },
};
// Gymnasium's half-cheetah as it stands at rest: x, z, x, z, radius (m) of each capsule.
const standing = [[-0.5, 0.7, 0.5, 0.7, 0.046], [0.51, 0.71, 0.69, 0.9, 0.046], [-0.5, 0.7, -0.34, 0.43, 0.046], [-0.34, 0.43, -0.55, 0.25, 0.046], [-0.55, 0.25, -0.49, 0.07, 0.046], [0.5, 0.7, 0.36, 0.46, 0.046], [0.36, 0.46, 0.42, 0.25, 0.046], [0.42, 0.25, 0.38, 0.1, 0.046]];

// --- everything else: what is observed, over time -------------------------------------------------------------------

const traces = {
  draw(ctx, w, h, c, { episode, t = 0, colour }) {
    sky(ctx, w, h, c);
    const states = (episode?.states ?? []).filter((state) => typeof state[0] === "number");
    const few = Math.min(states[0]?.length ?? 0, 6);
    for (let k = 0; k < few; k++) {
      const values = states.map((state) => state[k]);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const top = (h * (k + 0.1)) / few;
      const place = (v, i) => [(w * i) / Math.max(1, states.length - 1), top + ((h * 0.8) / few) * (1 - (v - low) / (high - low || 1))];
      withAlpha(ctx, 0.3, () => line(ctx, values.map(place), c.body, 1.5));
      line(ctx, values.slice(0, Math.floor(t) + 1).map(place), colour, 2);
    }
    if (!few) text(ctx, "nothing to be drawn yet", w / 2, h / 2, c.muted, 14, "center");
  },
  demo: { task: {}, states: Array.from({ length: 60 }, (_, i) => [Math.sin(i / 6), Math.cos(i / 9)]) },
};

const SCENES = {
  cartpole: cart, cartpole_goal: cart, navigation: plane, navigation_sparse: plane, pendulum, pendulum_hidden: pendulum,
  acrobot, mountain_car_continuous: hill, bandit, gaussian_bandit: bandit, gridworld: grid, darkroom: grid,
  tabular_mdp: mdp, sinusoid: wave, half_cheetah_dir: body, half_cheetah_vel: body, half_cheetah_vel3: body,
  half_cheetah_mass: body, half_cheetah_body: body, hopper_params: body, walker2d_params: body,
};

export const sceneOf = (family) => SCENES[family] ?? traces;
export const isWave = (family) => SCENES[family] === wave;
