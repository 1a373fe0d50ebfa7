// How full the network is, and what this pod's disk is used for.

import { at, bar, bytes, el, legend, replace } from "./dom.js";

export function drawNetworkSpace(pods) {
  const there = pods.filter((p) => p.state !== "down" && p.state !== "out" && p.weight > 0);
  const used = there.reduce((sum, p) => sum + p.used_bytes, 0), free = there.reduce((sum, p) => sum + p.free_bytes, 0);
  const parts = [{ name: "used", value: used, color: "--accent" }, { name: "free", value: free, color: "--line" }];
  replace(at("network-space"),
    el("h3", {}, "The network: " + there.length + " pods that store data and are there"),
    bar(parts, undefined, bytes(used) + " used, " + bytes(free) + " free"), legend(parts));
}

export function drawOwnSpace(u) {
  const parts = [
    { name: "live", value: u.live_bytes, color: "--accent" },
    { name: "cache", value: u.cache_bytes, color: "--info" },
    { name: "trash", value: u.trash_bytes, color: "--warn" },
    { name: "snapshots", value: u.snapshot_bytes, color: "--good" },
    { name: "garbage", value: u.garbage_bytes, color: "--none" },
    { name: "free", value: u.free_bytes, color: "--line" },
  ];
  replace(at("own-space"),
    el("h3", {}, "This pod: " + bytes(u.stored_bytes) + " stored"),
    bar(parts, undefined, parts.map((p) => bytes(p.value) + " " + p.name).join(", ")), legend(parts.filter((p) => p.value > 0)));
}
