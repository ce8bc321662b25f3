// What the page shows, worked out from the overlay document. No DOM here.
"use strict";

export const GLYPH = {good: "●", warn: "▲", bad: "✕", none: "○"};
const TONE = {
  protected: "good", reduced: "warn", down: "bad", unknown: "none", up: "good", one_way: "warn", silent: "bad",
  avoided: "none", settling: "none",
};
const WORD = {one_way: "one way"};
const RANK = {down: 0, silent: 0, one_way: 1, reduced: 1, unknown: 2, avoided: 2, settling: 3, up: 4, protected: 4};

export const tone = (state) => TONE[state] ?? "none";
export const word = (state) => WORD[state] ?? state;
export const rank = (state) => RANK[state] ?? 2;
export const pathKey = (path) => [path.source, path.destination, path.id].join("|");

export function count(value) {
  return value == null ? "–" : value.toLocaleString("en").replaceAll(",", "\u202f");
}
export function millis(value) {
  return value == null ? "–" : (value < 10 ? value.toFixed(2) : value.toFixed(1)) + "\u00a0ms";
}
export function percent(value, digits = 1) {
  return value == null ? "–" : (value * 100).toFixed(value === 0 || value === 1 ? 0 : digits) + "\u00a0%";
}
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const days = Math.floor(s / 86400), hours = Math.floor(s / 3600) % 24, minutes = Math.floor(s / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${s % 60} s` : `${s} s`;
}
export function clock(at) {
  return new Date(at * 1000).toISOString().slice(11, 19);
}
export const since = (at, now) => at == null ? "–" : span(now - at);

/* Adds to the document what several parts of the page need: regions of links, which links carry which paths. */
export function prepare(seen) {
  const nodes = new Map(seen.nodes.map((node) => [node.name, node]));
  const paths = new Map(seen.paths.map((path) => [pathKey(path), path]));
  const links = seen.links.map((link) => ({...link, carries: 0}));
  const byEnds = new Map(links.map((link) => [link.a + "|" + link.b, link]));
  const linkOf = (one, other) => byEnds.get(one < other ? one + "|" + other : other + "|" + one);
  for (const path of seen.paths) {
    if (path.state === "avoided") continue;
    for (const [one, other] of hops(path)) {
      const link = linkOf(one, other);
      if (link) link.carries += 1;
    }
  }
  links.sort((x, y) => rank(x.state) - rank(y.state) || (y.loss ?? 0) - (x.loss ?? 0) || (y.rtt_ms ?? -1) - (x.rtt_ms ?? -1));
  const services = seen.choices.map((choice) => ({
    ...choice,
    key: [choice.application, choice.edge, choice.gateway, choice.direction].join("|"),
    source: choice.direction === "to_gateway" ? choice.edge : choice.gateway,
    destination: choice.direction === "to_gateway" ? choice.gateway : choice.edge,
    paths: choice.paths.map((ends) => paths.get(ends.join("|"))).filter(Boolean),
  }));
  return {...seen, nodesByName: nodes, pathsByKey: paths, links, linkOf, services};
}

export function hops(path) {
  const stops = [path.source, ...path.route];
  return stops.slice(1).map((stop, index) => [stops[index], stop]);
}

/* One word for everything, and the reasons, worst first. */
export function verdict(seen) {
  const there = seen.services.filter((service) => service.state !== "unknown");
  const down = there.filter((service) => service.state === "down");
  const reduced = there.filter((service) => service.state === "reduced");
  const unready = seen.nodes.filter((node) => node.ready === false);
  const missing = seen.nodes.filter((node) => node.stale);
  const links = seen.links.filter((link) => link.state === "down" || link.state === "one_way");
  const reasons = [];
  if (down.length) reasons.push(`${down.length} ${plural(down.length, "service")} down`);
  if (reduced.length) reasons.push(`${reduced.length} ${plural(reduced.length, "service")} less protected`);
  if (seen.services.length > there.length) reasons.push(`${seen.services.length - there.length} of unknown state`);
  if (unready.length) reasons.push(`${unready.length} ${plural(unready.length, "node")} not ready`);
  if (missing.length) reasons.push(`no news of ${missing.length} ${plural(missing.length, "node")}`);
  if (links.length) reasons.push(`${links.length} ${plural(links.length, "link")} not working`);
  if (!there.length) return {kind: "none", word: "UNKNOWN", reasons: ["nothing is known of any service yet"]};
  if (down.length) return {kind: "bad", word: "DOWN", reasons};
  return reasons.length ? {kind: "warn", word: "DEGRADED", reasons} : {kind: "good", word: "OK", reasons: ["all protected"]};
}

export const plural = (number, noun) => number === 1 ? noun : noun + "s";

export function counts(seen) {
  const told = seen.nodes.filter((node) => node.ready !== null);
  return [
    ["Nodes ready", told.filter((node) => node.ready && !node.stale).length, seen.nodes.length],
    ["Links up", seen.links.filter((link) => link.state === "up").length, seen.links.length],
    ["Services protected", seen.services.filter((each) => each.state === "protected").length, seen.services.length],
    ["Paths delivering", seen.paths.filter((path) => path.state === "up").length,
      seen.paths.filter((path) => path.state !== "avoided").length],
  ];
}
