// What happened, the newest first.

import { at, el, moment, replace, shown } from "./dom.js";

let events = [];

function draw() {
  const words = at("events-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (e) => words.every((w) => [e.kind, e.path, e.pod, e.text, e.code || ""].some((t) => t.toLowerCase().includes(w)));
  const found = events.filter(fits);
  replace(at("events-list"), found.length ? found.map((e) => el("li", { "data-kind": e.kind },
    el("time", { class: "quiet", datetime: e.time }, moment(e.time)), " ",
    el("strong", { "data-state": e.severity || "" }, e.kind), " ",
    [e.path, e.pod, e.text].filter(Boolean).map(shown).join("  "))) : el("li", { class: "quiet" }, "Nothing."));
}

export function drawEvents(all) {
  events = all;
  draw();
}

at("events-filter").addEventListener("input", draw);
