// The network's pods: a picture, and a table.

import { at, bar, bytes, el, millis, moment, replace, shown, svg } from "./dom.js";

const ringMost = 36; // pods in a ring; more are drawn as squares
const rowsStep = 25;

const order = ["down", "out", "suspect", "draining", "up"];
const stateColors = { up: "--good", draining: "--warn", suspect: "--warn", down: "--bad", out: "--bad" };

let pods = [];
let peers = new Map();
let rows = rowsStep;

// badness is for the order: those with trouble first, this pod before its equals.
function compare(a, b) {
  const badness = (p) => order.indexOf(p.state) * 4 + (p.self ? 0 : linked(p) ? 2 : 1);
  return badness(a) - badness(b) || a.zone.localeCompare(b.zone) || a.name.localeCompare(b.name);
}

function linked(pod) {
  return pod.self || (peers.get(pod.id) || {}).connected === true;
}

// link says how this pod is connected with another.
function link(pod) {
  const peer = peers.get(pod.id);
  if (pod.self) return "this pod";
  if (!peer || !peer.connected) return "not connected" + (peer && peer.why ? ": " + shown(peer.why) : "");
  return (peer.rtt_ms > 0 ? millis(peer.rtt_ms) : "connected") + (peer.direct ? "" : ", relayed") + ", " + peer.transport;
}

function describe(pod) {
  return shown(pod.name) + ": " + pod.state + "; " + link(pod) + "; " + bytes(pod.used_bytes) + " used, " + bytes(pod.free_bytes) + " free";
}

function short(name) {
  const text = shown(name);
  return text.length > 16 ? text.slice(0, 15) + "…" : text;
}

// node is a pod in the ring. A cross tells what is down, beside the colour.
function node(pod, x, y, size) {
  const gone = pod.state === "down" || pod.state === "out";
  return svg("g", { "data-state": pod.state, "data-pod": pod.name, "data-linked": linked(pod) ? "yes" : "no" },
    svg("title", {}, describe(pod)),
    svg("circle", { class: pod.self ? "node self" : "node", cx: x, cy: y, r: size }),
    gone || !linked(pod) ? svg("path", { class: "cross", d: `M${x - size / 2} ${y - size / 2}l${size} ${size}m0 ${-size}l${-size} ${size}` }) : null,
    svg("text", { x, y: y + size + 14, "text-anchor": "middle" }, short(pod.name)),
    svg("text", { class: "quiet", x, y: y + size + 28, "text-anchor": "middle" }, pod.self ? "this pod" : linked(pod) ? pod.state : pod.state + ", no link"));
}

function ring() {
  const self = pods.find((p) => p.self);
  const others = pods.filter((p) => !p.self).sort((a, b) => a.zone.localeCompare(b.zone) || a.name.localeCompare(b.name));
  const width = 640, height = others.length > 12 ? 520 : 360;
  const cx = width / 2, cy = height / 2 - 12;
  const nodes = [], lines = [];
  others.forEach((p, i) => {
    const turn = (2 * Math.PI * i) / others.length - Math.PI / 2 + (others.length === 2 ? Math.PI / 2 : 0);
    const x = cx + Math.cos(turn) * (width / 2 - 70), y = cy + Math.sin(turn) * (height / 2 - 50);
    const peer = peers.get(p.id) || {};
    const rate = (peer.sent_bytes_per_s || 0) + (peer.received_bytes_per_s || 0);
    lines.push(svg("line", {
      class: "link" + (!peer.connected ? " off" : peer.direct ? "" : " relayed"), x1: cx, y1: cy, x2: x, y2: y,
      "stroke-width": 1.5 + Math.min(3, Math.log2(1 + rate / 65536) / 3),
    }));
    nodes.push(node(p, x, y, others.length > 16 ? 12 : 18));
  });
  if (self) nodes.push(node(self, cx, cy, 24));
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary() }, lines, nodes);
}

// squares is for many pods: a square each, those with trouble first.
function squares(sorted) {
  const across = Math.max(10, Math.ceil(Math.sqrt(sorted.length * 2.2)));
  const size = 640 / across;
  const all = sorted.map((p, i) => {
    const x = (i % across) * size, y = Math.floor(i / across) * size;
    return svg("g", { "data-state": p.state, "data-pod": p.name },
      svg("title", {}, describe(p)),
      svg("rect", { class: p.self ? "node self" : "node", x: x + 1, y: y + 1, width: size - 2, height: size - 2, rx: size / 6 }),
      linked(p) ? null : svg("path", { class: "cross", d: `M${x + size / 3} ${y + size / 3}l${size / 3} ${size / 3}m0 ${-size / 3}l${-size / 3} ${size / 3}` }));
  });
  return svg("svg", { viewBox: `0 0 640 ${Math.ceil(sorted.length / across) * size}`, role: "img", "aria-label": summary() }, all);
}

function summary() {
  const counts = order.map((s) => [s, pods.filter((p) => p.state === s).length]).filter(([, n]) => n > 0);
  return pods.length + " pods: " + counts.map(([s, n]) => n + " " + s).join(", ");
}

function row(pod) {
  const used = { name: "used", value: pod.used_bytes, color: "--accent" };
  const seen = pod.last_seen && pod.state !== "up" ? el("div", { class: "quiet" }, "last seen " + moment(pod.last_seen)) : null;
  return el("tr", { "data-pod": pod.name },
    el("th", { scope: "row" }, shown(pod.name), pod.self ? el("span", { class: "quiet" }, " (this)") : null),
    el("td", { "data-state": pod.state }, pod.state, seen),
    el("td", {}, link(pod)),
    el("td", { class: "number" }, bar([used], pod.used_bytes + pod.free_bytes, "used"), bytes(pod.used_bytes) + " of " + bytes(pod.used_bytes + pod.free_bytes)),
    el("td", {}, shown([pod.zone, pod.class].filter(Boolean).join(", "))),
    el("td", {}, pod.role));
}

function drawTable(sorted) {
  const words = at("pods-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (p) => words.every((w) => [p.name, p.state, p.zone, p.class, p.role, p.id].some((t) => t.toLowerCase().includes(w)));
  const found = words.length ? sorted.filter(fits) : sorted;
  replace(at("pods-table").tBodies[0], found.slice(0, rows).map(row));
  at("pods-more").hidden = found.length <= rows;
  at("pods-more").textContent = "Show more of " + found.length;
}

function draw() {
  const sorted = [...pods].sort(compare);
  at("pods-count").textContent = summary();
  replace(at("picture"), pods.length > ringMost ? squares(sorted) : ring());
  replace(at("legend"), order.filter((s) => pods.some((p) => p.state === s)).map((s) => {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = "var(" + stateColors[s] + ")";
    return el("span", {}, swatch, s);
  }), el("span", { class: "quiet" }, "a cross: no connection from here"));
  drawTable(sorted);
}

export function drawPods(all, links) {
  pods = all;
  peers = new Map(links.map((p) => [p.id, p]));
  draw();
}

at("pods-filter").addEventListener("input", () => {
  rows = rowsStep;
  drawTable([...pods].sort(compare));
});
at("pods-more").addEventListener("click", () => {
  rows += 4 * rowsStep;
  drawTable([...pods].sort(compare));
});


