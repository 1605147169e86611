// A canvas as sharp as its screen, colours of the page, and a few shapes.

export function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "muted", "line", "surface", "sunk", "before", "after", "goal", "belief", "body", "track", "sky", "ground", "brand"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// Width and height in CSS pixels; the context is scaled to the screen's own.
export function fitted(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = Math.min(devicePixelRatio || 1, 2.5);
  const w = Math.max(1, Math.round(width * ratio));
  const hgt = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== w || canvas.height !== hgt) {
    canvas.width = w;
    canvas.height = hgt;
  }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  ctx.lineCap = "round";
  ctx.lineJoin = "round";
  ctx.globalAlpha = 1;
  ctx.setLineDash([]);
  return { ctx, w: width, h: height };
}

export const font = (size, weight = 500) => `${weight} ${size}px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif`;

export function dot(ctx, x, y, r, fill) {
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.fillStyle = fill;
  ctx.fill();
}

export function ring(ctx, x, y, r, stroke, width = 2) {
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.strokeStyle = stroke;
  ctx.lineWidth = width;
  ctx.stroke();
}

export function line(ctx, points, stroke, width = 2, dash = []) {
  if (points.length < 2) return;
  ctx.beginPath();
  points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  ctx.strokeStyle = stroke;
  ctx.lineWidth = width;
  ctx.setLineDash(dash);
  ctx.stroke();
  ctx.setLineDash([]);
}

export function box(ctx, x, y, w, h, r, fill) {
  ctx.beginPath();
  ctx.roundRect(x, y, w, h, Math.max(0, Math.min(r, w / 2, h / 2)));
  ctx.fillStyle = fill;
  ctx.fill();
}

export function text(ctx, said, x, y, fill, size = 12, align = "left", weight = 500) {
  ctx.font = font(size, weight);
  ctx.fillStyle = fill;
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  ctx.fillText(said, x, y);
}

export function withAlpha(ctx, alpha, draw) {
  const kept = ctx.globalAlpha;
  ctx.globalAlpha = kept * alpha;
  draw();
  ctx.globalAlpha = kept;
}

// The state at a time between two steps; what cannot be between stays at the earlier.
export function stateAt(states, t) {
  const i = Math.min(Math.floor(t), states.length - 1);
  const j = Math.min(i + 1, states.length - 1);
  const f = t - i;
  if (typeof states[i][0] !== "number") return states[i];
  return states[i].map((value, k) => value + f * (states[j][k] - value));
}
