// Faults of the page as it stands, a sentence each: contrast, names, alternatives, order. Evaluated in the page.
() => {
  const faults = [];
  const visible = (one) => one.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && !one.closest(".sr, .skip");
  const said = (one) => `<${one.tagName.toLowerCase()}> ${(one.textContent || one.id || one.className || "").trim().slice(0, 40)}`;

  const channels = (colour) => {
    const canvas = (window.__probe ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !one || ["SCRIPT", "NOSCRIPT", "STYLE"].includes(one.tagName) || !visible(one)) continue;
    const style = getComputedStyle(one);
    const below = background(one);
    let alpha = 1;
    for (let at = one; at; at = at.parentElement) alpha *= Number(getComputedStyle(at).opacity);
    const ink = channels(style.color);
    const shown = over([...ink.slice(0, 3), ink[3] * alpha], below);
    const [a, b] = [light(shown), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)} of ${said(one)}`);
  }

  const named = (one) => one.getAttribute("aria-label") || one.labels?.[0]?.textContent.trim() || one.getAttribute("title") || "";
  for (const one of document.querySelectorAll("input, select, textarea")) if (visible(one) && !named(one)) faults.push(`no label: ${said(one)} ${one.id}`);
  for (const one of document.querySelectorAll("button, a[href]")) if (!one.textContent.trim() && !named(one)) faults.push(`no name: ${said(one)}`);
  for (const one of document.querySelectorAll("img")) if (!one.hasAttribute("alt")) faults.push(`no alt: ${one.src}`);
  for (const one of document.querySelectorAll(".card img")) if (!one.alt.trim()) faults.push(`an empty alt: ${one.src}`);
  for (const one of document.querySelectorAll("canvas")) if (one.getAttribute("role") !== "img" || !one.getAttribute("aria-label")) faults.push("a canvas without a name");
  for (const one of document.querySelectorAll("[id]")) if (document.querySelectorAll(`#${CSS.escape(one.id)}`).length > 1) faults.push(`two elements have the id ${one.id}`);
  for (const one of document.querySelectorAll("button, select, .top a")) {
    const { width, height } = one.getBoundingClientRect();
    if (visible(one) && Math.min(width, height) < 24) faults.push(`too small to be hit: ${said(one)}`);
  }
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not exactly one h1");
  let level = 0;
  for (const one of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const next = Number(one.tagName[1]);
    if (level && next > level + 1) faults.push(`a heading skips a level: ${said(one)}`);
    level = next;
  }
  return [...new Set(faults)];
}
