// Making the page's elements. Whatever comes from a pod goes into text nodes and attributes alone, never into HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "onclick") node.addEventListener("click", value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

// el is an HTML element, with attributes and children: nodes, texts, or lists of them.
export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// svg is an SVG element.
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function at(id) {
  return document.getElementById(id);
}

// replace gives a node other children, and the keyboard's focus to the one that has the same data-key as the one that had it.
export function replace(node, ...children) {
  const had = node.contains(document.activeElement) ? document.activeElement.getAttribute("data-key") : null;
  node.replaceChildren(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  if (had === null) return;
  for (const other of node.querySelectorAll("[data-key]")) {
    if (other.getAttribute("data-key") === had) other.focus();
  }
}

// Letters that do not show, or turn the direction of what follows: names may have any. A lone surrogate U+DCNN is the byte 0xNN of a name that is no UTF-8.
const odd = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

// shown is a name as it can be shown on one line without deceiving anybody.
export function shown(name) {
  return String(name).replace(odd, (c) => {
    const code = c.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) return "\\x" + (code - 0xdc00).toString(16);
    return "\\u{" + code.toString(16) + "}";
  });
}

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

export function bytes(n) {
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return (i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}

export function millis(n) {
  if (n >= 1000) return (n / 1000).toFixed(1) + " s";
  return (n >= 10 ? Math.round(n) : n.toFixed(1)) + " ms";
}

export function span(ms) {
  const s = Math.round(ms / 1000);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.round(s / 60) + " min";
  if (s < 48 * 3600) return Math.round(s / 3600) + " h";
  return Math.round(s / 86400) + " days";
}

// moment is when something was, with the day where it was not today.
export function moment(text) {
  const t = new Date(text);
  const time = t.toLocaleTimeString([], { hour12: false });
  return t.toDateString() === new Date().toDateString() ? time : t.toLocaleDateString() + " " + time;
}

// bar shows parts of a whole: {name, value, color}.
export function bar(parts, whole, label) {
  const total = Math.max(1, whole ?? parts.reduce((sum, p) => sum + p.value, 0));
  const spans = parts.filter((p) => p.value > 0).map((p) => {
    const one = el("span", { title: p.name + ": " + bytes(p.value) });
    one.style.width = (100 * p.value) / total + "%";
    one.style.background = "var(" + p.color + ")";
    return one;
  });
  return el("div", { class: "bar", role: "img", "aria-label": label }, spans);
}

// legend says in words what a bar shows.
export function legend(parts) {
  return el("ul", { class: "legend" }, parts.map((p) => {
    const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = "var(" + p.color + ")";
    return el("li", {}, swatch, p.name + " " + bytes(p.value));
  }));
}
