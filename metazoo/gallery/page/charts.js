// Small charts: a sparkline for the list, returns while adapting, what a play earns step by step, probabilities.

import { box, dot, fitted, line, text, withAlpha } from "./canvas.js";
import { number } from "./dom.js";

function scale(values, pad = 0.08) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (high - low < 1e-9) [low, high] = [low - 1, high + 1];
  const more = (high - low) * pad;
  return [low - more, high + more];
}

function axes(ctx, w, h, c, [low, high], said) {
  const frame = { left: 44, right: w - 10, top: 10, bottom: h - 24 };
  const y = (v) => frame.bottom - ((v - low) / (high - low)) * (frame.bottom - frame.top);
  const step = niceStep((high - low) / 3);
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) {
    line(ctx, [[frame.left, y(tick)], [frame.right, y(tick)]], c.line, 1);
    text(ctx, number(Math.abs(tick) < 1e-9 ? 0 : tick, step < 1 ? 1 : 0), frame.left - 7, y(tick), c.muted, 11, "right");
  }
  text(ctx, said, (frame.left + frame.right) / 2, h - 8, c.muted, 11, "center");
  return { ...frame, y };
}

function niceStep(rough) {
  const ten = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((k) => k * ten).find((step) => step >= rough) ?? rough;
}

// Returns of the episodes explored, one after another, `shown` of them; lines for the means before and after.
export function returns(canvas, c, { rounds, shown, before, after, unit }) {
  const { ctx, w, h } = fitted(canvas);
  const all = rounds.flat();
  const values = [...all, before, after].filter((v) => v !== null);
  const f = axes(ctx, w, h, c, scale(values), unit);
  const x = (i) => f.left + 8 + ((f.right - f.left - 16) * (i + 0.5)) / Math.max(1, all.length);
  let i = 0;
  rounds.forEach((round, r) => {
    const share = rounds.length > 1 ? r / (rounds.length - 1) : 0;
    const colour = share < 0.5 ? c.before : c.after;
    const start = i;
    round.forEach((value) => {
      if (i < shown) withAlpha(ctx, 0.75, () => dot(ctx, x(i), f.y(value), 4, colour));
      i++;
    });
    if (start + round.length <= shown && round.length > 1) {
      const mean = round.reduce((a, b) => a + b, 0) / round.length;
      line(ctx, [[x(start) - 3, f.y(mean)], [x(i - 1) + 3, f.y(mean)]], colour, 3);
    }
  });
  for (const [value, colour] of [[before, c.before], [after, c.after]]) {
    if (value !== null) line(ctx, [[f.left, f.y(value)], [f.right, f.y(value)]], colour, 2, [6, 5]);
  }
}

// What both plays have earned up to step t.
export function earned(canvas, c, { before, after, t, unit }) {
  const { ctx, w, h } = fitted(canvas);
  const sums = [before, after].map((one) => one.rewards.reduce((sum, reward) => [...sum, sum.at(-1) + reward], [0]));
  const f = axes(ctx, w, h, c, scale(sums.flat()), unit);
  const long = Math.max(...sums.map((sum) => sum.length)) - 1;
  const x = (i) => f.left + ((f.right - f.left) * i) / Math.max(1, long);
  sums.forEach((sum, k) => {
    const colour = k ? c.after : c.before;
    const points = sum.map((value, i) => [x(i), f.y(value)]);
    withAlpha(ctx, 0.25, () => line(ctx, points, colour, 2));
    const now = points.slice(0, Math.min(sum.length, Math.floor(t) + 1));
    line(ctx, now, colour, 3);
    if (now.length) dot(ctx, ...now.at(-1), 5, colour);
  });
}

// The mean reward so far of one trial, pull by pull.
export function running(canvas, c, { rewards, shown, best, unit }) {
  const { ctx, w, h } = fitted(canvas);
  const means = [];
  rewards.reduce((sum, reward, i) => {
    means.push((sum + reward) / (i + 1));
    return sum + reward;
  }, 0);
  const f = axes(ctx, w, h, c, scale([...means.slice(2), best, 0].filter((v) => v !== null)), unit);
  const x = (i) => f.left + ((f.right - f.left) * i) / Math.max(1, rewards.length - 1);
  if (best !== null) line(ctx, [[f.left, f.y(best)], [f.right, f.y(best)]], c.goal, 2, [6, 5]);
  line(ctx, means.slice(0, shown).map((v, i) => [x(i), f.y(v)]), c.after, 3);
}

// Rows of probabilities over time, up to step t; the row of the best arm is marked.
export function probabilities(canvas, c, { rows, t, best, name }) {
  const { ctx, w, h } = fitted(canvas);
  const count = rows[0].length;
  const [left, top, bottom] = [52, 4, h - 20];
  const tall = (bottom - top) / count;
  const wide = (w - left - 6) / rows.length;
  for (let k = 0; k < count; k++) {
    const y = top + k * tall;
    box(ctx, left, y + 1, w - left - 6, tall - 2, 3, c.sunk);
    text(ctx, `${name} ${k + 1}`, left - 8, y + tall / 2, k === best ? c.goal : c.muted, Math.min(12, tall), "right", k === best ? 700 : 500);
    rows.slice(0, Math.floor(t)).forEach((row, i) => withAlpha(ctx, Math.min(1, row[k] ** 0.7), () => {
      ctx.fillStyle = c.belief;
      ctx.fillRect(left + i * wide, y + 1, wide + 0.5, tall - 2);
    }));
  }
  text(ctx, "step of the trial →", (left + w) / 2, h - 8, c.muted, 11, "center");
}

// Each parameter on its range: where it is, and where the memory says that it is.
export function beliefs(canvas, c, { names, values, r2, truth, bounds }) {
  const { ctx, w, h } = fitted(canvas);
  const tall = h / names.length;
  names.forEach((name, k) => {
    const y = tall * (k + 0.5);
    const [left, right] = [Math.min(110, w * 0.36), w - 64];
    const [low, high] = bounds[k];
    const x = (v) => left + Math.min(1, Math.max(0, (v - low) / (high - low || 1))) * (right - left);
    text(ctx, name, left - 12, y, c.ink, Math.min(13, tall * 0.7), "right");
    line(ctx, [[left, y], [right, y]], c.line, 5);
    line(ctx, [[x(truth[k]), y - tall * 0.3], [x(truth[k]), y + tall * 0.3]], c.goal, 4);
    withAlpha(ctx, r2[k] < 0.3 ? 0.35 : 1, () => dot(ctx, x(values[k]), y, Math.min(8, tall * 0.32), c.belief));
    text(ctx, `R² ${r2[k].toFixed(2)}`, w - 2, y, c.muted, Math.min(12, tall * 0.7), "right");
  });
}
