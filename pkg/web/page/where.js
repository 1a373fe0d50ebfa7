// Where the chunks of a file are: a picture of chunks by pods. And a way to it through the folders.

import { at, bytes, el, legend, replace, shown, svg } from "./dom.js";
import { ask } from "./ask.js";

const colors = { safe: "--good", spreading: "--info", local: "--info", dirty: "--info", degraded: "--warn", unavailable: "--bad" };
const podsMost = 64; // rows of the picture

let turn = 0; // the newest question; answers to others come too late

function trouble(e) {
  return el("p", { class: "trouble" }, shown(e.message), e.hint ? el("span", { class: "quiet" }, " " + shown(e.hint)) : null);
}

function entry(e) {
  const open = e.kind === "folder" ? e.path.replace(/\/*$/, "/") : e.path;
  return el("li", {},
    el("button", { class: "plain", type: "button", "data-key": "entry " + e.path, onclick: () => setPath(open) }, shown(e.name) + (e.kind === "folder" ? "/" : "")),
    el("span", { class: "quiet" }, " " + (e.kind === "file" ? bytes(e.size_bytes) : e.kind)));
}

async function list(path) {
  const mine = ++turn;
  const cut = path.lastIndexOf("/") + 1;
  const folder = path.slice(0, cut) || "/", prefix = path.slice(cut);
  try {
    const got = await ask("ls", { path: folder, prefix });
    if (mine !== turn) return;
    const up = folder !== "/" ? el("li", {}, el("button", { class: "plain", type: "button", onclick: () => setPath(folder.replace(/[^/]*\/+$/, "")) }, "../")) : null;
    replace(at("where-list"), el("ul", { class: "plain" }, up, got.entries.map(entry)),
      got.more ? el("p", { class: "quiet" }, "There are more: type the beginning of the name.") : null,
      !got.entries.length ? el("p", { class: "quiet" }, "Nothing here begins like that.") : null);
  } catch (e) {
    if (mine === turn) replace(at("where-list"), trouble(e));
  }
}

// cell is what one pod has of one chunk.
function cell(holders, x, y, size, title) {
  if (!holders.length) return svg("rect", { class: "empty", x, y, width: size, height: size });
  const h = holders[0];
  const name = holders.map((one) => one.kind + (one.index >= 0 ? " " + one.index : "") + (one.pinned ? ", pinned" : "")).join("; ");
  const kind = h.index >= 0 || h.kind === "fragment" ? "fragment" : h.kind.startsWith("cache") ? "cached" : "whole";
  return svg("g", { "data-holder": kind },
    svg("title", {}, title + ": " + name),
    svg("rect", { class: "held " + kind + (holders.some((one) => one.pinned) ? " pinned" : ""), x, y, width: size, height: size, rx: 2 }),
    h.index >= 0 && size >= 14 ? svg("text", { x: x + size / 2, y: y + size / 2 + 4, "text-anchor": "middle" }, String(h.index)) : null);
}

function matrix(w) {
  const pods = w.pods.slice(0, podsMost);
  const label = 130, size = Math.max(9, Math.min(22, Math.floor((900 - label) / Math.max(1, w.chunks.length))));
  const columns = Math.min(w.chunks.length, Math.floor((900 - label) / size));
  const bands = Math.max(1, Math.ceil(w.chunks.length / columns));
  const high = (pods.length + 1) * (size + 2) + 14;
  const all = [];
  for (let band = 0; band < bands; band++) {
    const top = band * high;
    pods.forEach((p, row) => all.push(svg("text", { x: label - 8, y: top + (row + 1) * (size + 2) + size * 0.75, "text-anchor": "end" }, shown(p.pod).slice(0, 16))));
    w.chunks.slice(band * columns, (band + 1) * columns).forEach((c, i) => {
      const x = label + i * size, number = w.from + band * columns + i;
      const state = svg("rect", { x, y: top, width: size - 2, height: size - 2, rx: 2 }, svg("title", {}, "chunk " + number + ", " + bytes(c.bytes) + ": " + c.state + " " + c.have + "/" + c.need));
      state.style.fill = "var(" + (colors[c.state] || "--none") + ")";
      all.push(state);
      pods.forEach((p, row) => {
        const holders = c.holders.filter((h) => h.pod === p.pod);
        all.push(cell(holders, x, top + (row + 1) * (size + 2), size - 2, shown(p.pod) + ", chunk " + number));
      });
    });
    all.push(svg("text", { class: "quiet", x: label - 8, y: top + size * 0.75, "text-anchor": "end" }, "safe?"));
  }
  const words = w.count + " chunks on " + w.pods.length + " pods: " + w.pods.map((p) => shown(p.pod) + " holds " + p.chunks).join(", ");
  return svg("svg", { viewBox: `0 0 ${label + columns * size} ${bands * high}`, role: "img", "aria-label": words }, all);
}

function pages(w) {
  if (w.count <= w.chunks.length) return null;
  const step = 256;
  const button = (name, from, can) => el("button", { type: "button", "data-key": "chunks " + name, disabled: !can, onclick: () => show(w.path, from) }, name);
  return el("p", { class: "buttons" }, button("Earlier chunks", Math.max(0, w.from - step), w.from > 0), button("Later chunks", w.from + step, w.from + step < w.count),
    el("span", { class: "quiet" }, "chunks " + w.from + " to " + (w.from + w.chunks.length - 1) + " of " + w.count));
}

async function show(path, from) {
  const mine = ++turn;
  replace(at("where-picture"), el("p", { class: "quiet" }, "Asking …"));
  try {
    const w = await ask("where", { path, from });
    if (mine !== turn) return;
    const states = Object.entries(w.states).map(([name, value]) => ({ name, value, color: colors[name] || "--none" }));
    replace(at("where-picture"),
      el("h3", {}, shown(w.path)),
      el("p", {}, bytes(w.bytes) + " in " + w.count + " chunks, policy " + shown(w.policy) + ": ", el("strong", { "data-state": w.state }, w.safe ? "safe" : w.state + " " + w.have + "/" + w.need)),
      w.count ? matrix(w) : el("p", { class: "quiet" }, "Its bytes stand in its folder: no chunk is needed."),
      w.pods.length > podsMost ? el("p", { class: "quiet" }, "and on " + (w.pods.length - podsMost) + " other pods") : null,
      legend(states), el("p", { class: "quiet" }, "green: a whole copy; blue with a number: that fragment; grey: a cached copy; framed: pinned"),
      pages(w));
  } catch (e) {
    if (mine === turn) replace(at("where-picture"), trouble(e));
  }
}

// setPath chooses a path, as if it had been typed.
export function setPath(path) {
  at("where-path").value = path;
  if (path.endsWith("/")) {
    replace(at("where-picture"));
    list(path);
    return;
  }
  show(path, 0);
}

let typing = 0;
at("where-path").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => list(at("where-path").value), 200);
});
at("where-form").addEventListener("submit", (e) => {
  e.preventDefault();
  clearTimeout(typing);
  setPath(at("where-path").value);
});
list("/");
