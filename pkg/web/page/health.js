// What isn't well, and why; how safe the bytes are.

import { at, bar, bytes, el, legend, moment, replace, shown, span } from "./dom.js";

const marks = { error: "✖", warning: "▲", notice: "ℹ" };

// The states of bytes, from the safest on, with what they mean.
const states = {
  safe: ["--good", "as many copies as the policy asks for"],
  spreading: ["--info", "copies are being made"],
  local: ["--info", "only here yet"],
  dirty: ["--info", "being written"],
  degraded: ["--warn", "fewer copies than the policy asks for"],
  unavailable: ["--bad", "no pod that answers has them"],
};

function warning(w) {
  return el("div", { class: "warning", "data-state": w.severity, "data-code": w.code },
    el("p", { class: "head" }, (marks[w.severity] || "•") + " " + w.title),
    el("p", {}, shown(w.text)),
    w.todo ? el("p", {}, "What to do: " + w.todo) : null,
    el("p", { class: "quiet" }, w.severity + " " + w.code + ", since " + moment(w.since) + (w.because ? ", because of " + w.because : "")));
}

export function drawHealth(status) {
  replace(at("reasons"), status.reasons.length ? el("ul", {}, status.reasons.map((r) => el("li", {}, shown(r)))) : null);
  replace(at("warnings"), status.warnings.length ? status.warnings.map(warning) : el("p", {}, "✔ Nothing needs you."));
  const parts = status.states.filter((s) => s.bytes > 0).map((s) => ({ name: s.state, value: s.bytes, color: (states[s.state] || ["--none"])[0] }));
  if (!parts.length) {
    replace(at("safety"), el("p", { class: "quiet" }, "There are no files yet."));
    return;
  }
  const words = parts.map((p) => bytes(p.value) + " " + p.name).join(", ");
  replace(at("safety"), bar(parts, undefined, words), legend(parts.map((p) => ({ ...p, name: p.name + " (" + (states[p.name] || ["", "?"])[1] + ")" }))));
}

export function drawRepair(r) {
  if (!r.active && r.unsafe_bytes === 0 && r.unavailable_bytes === 0 && r.damaged_blocks === 0) {
    replace(at("repair"), el("p", { class: "quiet" }, "No repair is going on."));
    return;
  }
  const left = r.left_ms >= 0 ? ", " + span(r.left_ms) + " left" : "";
  const done = { name: "done", value: r.done_bytes, color: "--good" };
  replace(at("repair"),
    el("h3", {}, r.active ? "Repair is going on" + left : "Repair waits"),
    bar([done], r.due_bytes, bytes(r.done_bytes) + " of " + bytes(r.due_bytes) + " repaired"),
    el("p", { class: "quiet" }, bytes(r.done_bytes) + " of " + bytes(r.due_bytes) + " done; " + bytes(r.endangered_bytes) + " can't bear one more loss; " +
      bytes(r.unavailable_bytes) + " not to be had; " + r.damaged_blocks + " damaged blocks"));
}

export function drawCanStop(c) {
  replace(at("can-stop"),
    el("h3", {}, "Can this machine be switched off now?"),
    el("p", { "data-state": c.can_stop ? "good" : "warning" }, c.can_stop ? "✔ Yes: no promise is broken." : "▲ Not yet."),
    el("ul", {}, c.reasons.concat(c.notes).map((t) => el("li", {}, shown(t)))));
}
