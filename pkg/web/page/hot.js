// The files that are read most.

import { at, bytes, el, replace, shown } from "./dom.js";

export function drawHot(files, open) {
  if (!files.length) {
    replace(at("hot-list"), el("p", { class: "quiet" }, "Nothing was read lately."));
    return;
  }
  const hottest = Math.max(1, ...files.map((f) => f.pods.reduce((sum, p) => sum + p.read_bytes, 0)));
  replace(at("hot-list"), el("div", { class: "wide" }, el("table", {},
    el("thead", {}, el("tr", {}, ["File", "Read", "By", "At home"].map((t) => el("th", { scope: "col" }, t)))),
    el("tbody", {}, files.map((f) => {
      const read = f.pods.reduce((sum, p) => sum + p.read_bytes, 0);
      const heat = el("div", { class: "bar", "aria-hidden": "true" }, el("span"));
      heat.firstChild.style.width = (100 * read) / hottest + "%";
      heat.firstChild.style.background = "var(--bad)";
      return el("tr", {},
        el("td", {}, el("button", { class: "plain", type: "button", "data-key": "hot " + f.path, onclick: () => { open(f.path); at("where").scrollIntoView(); } }, shown(f.path))),
        el("td", { class: "number" }, heat, bytes(read)),
        el("td", {}, f.pods.map((p) => shown(p.pod) + " " + bytes(p.read_bytes)).join(", ")),
        el("td", {}, f.homes.map(shown).join(", ") + (f.move_to ? " → " + shown(f.move_to) : "")));
    })))));
}
