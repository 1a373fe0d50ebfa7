// Throughput and latency of the last minutes.

import { at, bytes, el, millis, replace, svg } from "./dom.js";

const span = 5 * 60 * 1000; // ms
const gap = 5000; // ms without a sample: nobody looked
const width = 600, height = 120, left = 74, top = 8, bottom = 22;

const samples = []; // {t, received, sent, median, worst}

function path(key, from, most) {
  let d = "", last = -Infinity;
  for (const s of samples) {
    if (s[key] === null) continue;
    const x = left + ((s.t - from) / span) * (width - left), y = top + (1 - s[key] / most) * (height - top - bottom);
    d += (s.t - last > gap ? "M" : "L") + x.toFixed(1) + " " + y.toFixed(1);
    last = s.t;
  }
  return d || "M0 0";
}

// round is a limit of the axis that is no less than n.
function round(n, base) {
  let step = 1;
  while (step * base < n) step *= base;
  for (const part of [1, 2, 5]) {
    if ((step * part * base) / 10 >= n && part < base) return (step * part * base) / 10;
  }
  return step * base;
}

function plot(title, first, second, show, base, least) {
  const now = samples[samples.length - 1], from = now.t - span;
  const high = samples.reduce((m, s) => Math.max(m, s[first.key] || 0, s[second.key] || 0), least);
  const most = round(high, base);
  const say = (line) => line.name + " " + (now[line.key] === null ? "not known" : show(now[line.key]));
  const y = (share) => top + (1 - share) * (height - top - bottom);
  return el("figure", {},
    el("figcaption", {}, title + ": ", el("strong", {}, say(first)), " (solid), ", el("strong", {}, say(second)), " (dashed)"),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title + " now: " + say(first) + ", " + say(second) + "; most in five minutes: " + show(high) },
      [0, 0.5, 1].map((share) => [
        svg("line", { class: "grid", x1: left, x2: width, y1: y(share), y2: y(share) }),
        svg("text", { class: "quiet", x: left - 8, y: y(share) + 4, "text-anchor": "end" }, show(most * share)),
      ]),
      svg("text", { class: "quiet", x: left, y: height - 5 }, "5 min ago"),
      svg("text", { class: "quiet", x: width, y: height - 5, "text-anchor": "end" }, "now"),
      svg("path", { class: "first", d: path(first.key, from, most) }),
      svg("path", { class: "second", d: path(second.key, from, most) })));
}

// drawPlots takes a sample of the connections, and draws all.
export function drawPlots(peers) {
  const trips = peers.filter((p) => p.connected && p.rtt_ms > 0).map((p) => p.rtt_ms).sort((a, b) => a - b);
  samples.push({
    t: Date.now(),
    received: peers.reduce((sum, p) => sum + p.received_bytes_per_s, 0),
    sent: peers.reduce((sum, p) => sum + p.sent_bytes_per_s, 0),
    median: trips.length ? trips[Math.floor(trips.length / 2)] : null,
    worst: trips.length ? trips[trips.length - 1] : null,
  });
  while (samples.length && samples[0].t < Date.now() - span) samples.shift();
  replace(at("plots"),
    plot("Throughput", { key: "received", name: "received" }, { key: "sent", name: "sent" }, (n) => bytes(n) + "/s", 1024, 1024),
    plot("Round trips to other pods", { key: "median", name: "median" }, { key: "worst", name: "slowest" }, millis, 10, 1));
}
