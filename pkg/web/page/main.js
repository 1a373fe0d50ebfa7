// What the page does: it asks once a second while somebody looks, and draws what has changed.

import { at, shown } from "./dom.js";
import { ask } from "./ask.js";
import { drawHealth, drawRepair, drawCanStop } from "./health.js";
import { drawPods } from "./pods.js";
import { drawPlots } from "./plots.js";
import { drawNetworkSpace, drawOwnSpace } from "./space.js";
import { drawConflicts } from "./conflicts.js";
import { drawHot } from "./hot.js";
import { drawEvents } from "./events.js";
import { setPath } from "./where.js";

const nowEvery = 1000; // ms
const moreEvery = 5000;

const told = {}; // the newest of each section
const have = {};

// The parts of the page, by the sections that they show.
const parts = [
  [["status"], () => {
    at("title").textContent = shown(told.status.network_name) + " at " + shown(told.status.name);
    document.title = (told.status.healthy ? "" : "(!) ") + shown(told.status.network_name) + " – Wormhole";
    drawHealth(told.status);
    drawNetworkSpace(told.status.pods);
  }],
  [["status", "peers"], () => drawPods(told.status.pods, told.peers)],
  [["repair"], () => drawRepair(told.repair)],
  [["events"], () => drawEvents(told.events)],
  [["usage"], () => drawOwnSpace(told.usage)],
  [["conflicts"], () => drawConflicts(told.conflicts, lookMore)],
  [["hot"], () => drawHot(told.hot, setPath)],
  [["can_stop"], () => drawCanStop(told.can_stop)],
];

function take(answer) {
  const came = Object.keys(answer.sections);
  Object.assign(told, answer.sections);
  Object.assign(have, answer.sums);
  for (const [needs, draw] of parts) {
    if (needs.some((n) => came.includes(n)) && needs.every((n) => told[n] !== undefined)) draw();
  }
  return Object.values(answer.errors)[0];
}

function live(state, text) {
  at("live").dataset.state = state;
  at("live").textContent = text;
}

// stale says that what is shown is no longer so.
function stale(e) {
  live("bad", shown(e.message) + (e.hint ? " – " + shown(e.hint) : ""));
  at("verdict").dataset.state = "unknown";
  at("verdict").textContent = "Not known";
}

async function lookNow() {
  try {
    const error = take(await ask("now", { have }));
    if (told.peers) drawPlots(told.peers);
    if (error) stale(error);
    else {
      live("good", "live, " + new Date().toLocaleTimeString([], { hour12: false }));
      at("verdict").dataset.state = told.status.healthy ? "good" : "bad";
      const text = told.status.healthy ? "Healthy" : "Needs attention";
      if (at("verdict").textContent !== text) at("verdict").textContent = text;
    }
  } catch (e) {
    stale(e);
  }
}

async function lookMore() {
  try {
    take(await ask("more", { have }));
  } catch { // The other question says so.
  }
}

// every asks again and again, each time after the answer to the last, while the page is looked at.
function every(ms, look) {
  let timer = 0;
  let busy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (busy || document.hidden) return;
    busy = true;
    await look();
    busy = false;
    timer = setTimeout(turn, ms);
  };
  document.addEventListener("visibilitychange", turn);
  turn();
}

addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, textarea")) return;
  e.preventDefault();
  at("where-path").focus();
  at("where-path").select();
});

every(nowEvery, lookNow);
every(moreEvery, lookMore);
