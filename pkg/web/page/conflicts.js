// What pods changed apart, with buttons that end it.

import { at, bytes, el, moment, replace, shown } from "./dom.js";
import { ask } from "./ask.js";

const kinds = { contents: "several versions", deleted: "changed, and deleted elsewhere", renamed: "renamed twice, apart" };
const most = 100;

function confirm(title, text, yes) {
  const dialog = at("ask");
  at("ask-title").textContent = title;
  at("ask-text").textContent = text;
  at("ask-yes").textContent = yes;
  dialog.showModal();
  at("ask-no").focus();
  return new Promise((done) => {
    const end = (answer) => () => {
      dialog.close();
      done(answer);
    };
    at("ask-yes").onclick = end(true);
    at("ask-no").onclick = end(false);
    dialog.oncancel = () => done(false);
  });
}

async function resolve(conflict, keep, name, again) {
  const path = shown(conflict.path);
  const lost = keep === "both" ? "Both stay, as files of their own." : "What is not kept can be had back for an hour at least, by wh restore.";
  if (!(await confirm("Keep " + name + "?", path + ". " + lost, "Keep " + name))) return;
  const said = at("conflicts-said");
  try {
    await ask("resolve", { path: conflict.path, keep });
    said.textContent = "Resolved: " + path;
    await again();
  } catch (e) {
    said.textContent = "Not resolved: " + path + ": " + shown(e.message) + (e.hint ? ". " + shown(e.hint) : "");
  }
}

function version(conflict, v, i, again) {
  const what = v.deleted ? "deleted" : v.kind === "folder" ? "folder" : bytes(v.size_bytes);
  const where = v.deleted ? "" : i === 0 ? "shown here" : (conflict.kind === "renamed" ? "would be " : "as ") + shown(v.path);
  const by = v.pod ? shown(v.pod) : "unknown pod";
  return el("tr", {},
    el("td", { class: "number" }, v.id.slice(0, 12)),
    el("td", {}, by + (v.ours ? " (this pod)" : "")),
    el("td", {}, v.time ? moment(v.time) : "unknown"),
    el("td", {}, what), el("td", {}, where),
    el("td", {}, el("button", {
      type: "button", "data-key": "keep " + conflict.path + " " + v.id, "aria-label": "Keep version " + v.id + " of " + shown(conflict.path),
      onclick: () => resolve(conflict, v.id, "the version of " + by, again),
    }, "Keep this")));
}

function one(conflict, again) {
  const button = (keep, name) => el("button", {
    type: "button", "data-key": keep + " " + conflict.path, "data-keep": keep, "aria-label": "Keep " + name + " of " + shown(conflict.path),
    onclick: () => resolve(conflict, keep, name, again),
  }, "Keep " + name);
  return el("div", { class: "conflict", "data-path": conflict.path },
    el("h3", {}, shown(conflict.path)),
    el("p", { class: "quiet" }, kinds[conflict.kind] || conflict.kind),
    el("div", { class: "wide" }, el("table", {}, el("tbody", {}, conflict.versions.map((v, i) => version(conflict, v, i, again))))),
    el("p", { class: "buttons" }, button("ours", "ours"), button("theirs", "theirs"), button("both", "both")));
}

export function drawConflicts(conflicts, again) {
  at("conflicts-count").textContent = conflicts.length ? String(conflicts.length) : "";
  if (!conflicts.length) {
    replace(at("conflicts-list"), el("p", {}, "✔ There are none."));
    return;
  }
  replace(at("conflicts-list"), conflicts.slice(0, most).map((c) => one(c, again)),
    conflicts.length > most ? el("p", { class: "quiet" }, "and " + (conflicts.length - most) + " more: wh conflicts lists all") : null);
}
