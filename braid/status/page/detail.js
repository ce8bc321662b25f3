// The drill-down: one link, path or node with its curves, its facts and what changed about it.
"use strict";
import {byId, make, pill, table} from "./dom.js";
import {count, millis, percent, since, span, tone, word} from "./model.js";
import {chart} from "./spark.js";
import {changeItem, pathName} from "./tables.js";

const FIELDS = [
  ["rtt_ms", "Round trip", "ms"], ["one_way_ms", "One way", "ms"], ["jitter_ms", "Jitter", "ms"], ["loss", "Loss", "", 0],
  ["mtu", "Largest packet carried", "bytes"],
  ["sent_per_s", "Copies sent", "/s", 0], ["kept_per_s", "First copies received through the same neighbour", "/s", 0],
  ["eliminated_per_s", "Copies eliminated from there", "/s", 0], ["tx_per_s", "Datagrams sent", "/s", 0],
  ["rx_per_s", "Datagrams received", "/s", 0], ["first_share", "Share of first copies", "", 0],
  ["copies_usable", "Paths usable", "", 0], ["flows", "Flows", "", 0], ["up", "Working (1) or not (0)", "", 0],
];

async function curves(node, kind, name, range) {
  const query = new URLSearchParams({node, kind, name, range, points: "300"});
  const answer = await fetch("/history?" + query, {cache: "no-store", signal: AbortSignal.timeout(5000)});
  if (!answer.ok) return [];
  const document = await answer.json();
  const found = document.curves[0]?.values ?? {};
  return FIELDS.filter(([field]) => found[field]).map(([field, title, unit, floor]) => chart(title, found[field], document.span_s, unit, floor));
}

function facts(pairs) {
  return make("dl", {}, pairs.filter(([, value]) => value !== "").map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}
const about = (seen, words) => seen.changes.filter((change) => words.some((name) => (change.text + change.cause).includes(name))).slice(0, 8);

function changesOf(seen, words) {
  const found = about(seen, words);
  return found.length ? [make("h3", {}, "Changes"), make("ol", {class: "changes"}, found.map(changeItem))] : [];
}

async function link(seen, id, range) {
  const found = seen.links.find((each) => each.a + "|" + each.b === id);
  if (!found) return null;
  const own = [found.a, found.b].includes(seen.seen_by);
  const other = found.a === seen.seen_by ? found.b : found.a;
  const drawn = own ? await curves(seen.seen_by, "neighbour", other, range) : await curves(found.a, "link", found.b, range);
  return [`${found.a} – ${found.b}`, facts([
    ["State", [pill(tone(found.state), word(found.state)), " ", found.detail]], ["Since", since(found.since, seen.at)],
    ["Round trip", millis(found.rtt_ms)], ["Jitter", found.jitter_ms == null ? "not measured yet" : millis(found.jitter_ms)],
    ["Loss", found.loss == null ? "not measured yet" : percent(found.loss, 2)], ["Paths over it now", String(found.carries)],
  ]), ...drawn, ...changesOf(seen, [found.a, found.b])];
}

async function path(seen, id, range) {
  const found = seen.pathsByKey.get(id);
  if (!found) return null;
  const chosen = seen.sets.find((each) => each.source === found.source && each.destination === found.destination);
  return [`${found.source} → ${found.destination}`, facts([
    ["Way", [found.source, ...found.route].join(" → ")],
    ["State", [pill(tone(found.state), word(found.state)), " ", found.detail]], ["Since", since(found.since, seen.at)],
    ["Share of first copies", found.first_share == null ? "none came in the last minute" : percent(found.first_share)],
    ["Copies sent", count(found.sent)], ["Kept first", count(found.kept)], ["Eliminated", count(found.eliminated)], ["Lost", count(found.lost)],
    ["Round trip", found.rtt_ms == null ? "not measured yet" : millis(found.rtt_ms)],
    ["One way", found.one_way_ms == null ? "not measured yet" : millis(found.one_way_ms)],
    ["Jitter", found.jitter_ms == null ? "not measured yet" : millis(found.jitter_ms)],
    ["Loss", found.loss == null ? "not measured yet" : percent(found.loss, 2)],
    ["Largest packet carried", found.mtu == null ? "not known yet" : `${found.mtu} bytes`],
    ["Chosen", chosen ? chosen.why : ""],
    ["Lost on all paths of its set", chosen?.joint_probes ? `${count(chosen.joint_lost)} of ${count(chosen.joint_probes)} probes of the last 10 minutes` : ""],
  ]), ...await curves(found.source, "path", pathName(found), range), ...changesOf(seen, [...found.regions, found.destination])];
}

async function node(seen, name) {
  const found = seen.nodesByName.get(name);
  if (!found) return null;
  const parts = [name, facts([
    ["Role", `${found.role} in ${found.place || found.region}, region ${found.region}`],
    ["State", found.ready == null ? "never heard of" : found.stale ? "no news" : found.ready ? "ready" : "not ready: " + found.problem],
    ["News", found.age_s == null ? "none" : `${found.age_s.toFixed(1)} s old`],
    ["Up", found.uptime_s == null ? "–" : span(found.uptime_s)], ["Topology", found.revision],
    ["Also in the region", seen.nodes.filter((each) => each.region === found.region && each.name !== name).map((each) => each.name).join(", ")],
  ])];
  const neighbours = make("div", {});
  table(neighbours, "Links of " + name, [["Link"], ["State"], ["Round trip", true]], seen.links
    .filter((each) => each.a === name || each.b === name)
    .map((each) => ({cells: [each.a === name ? each.b : each.a, pill(tone(each.state), word(each.state)), millis(each.rtt_ms)]})), "None is known.");
  parts.push(make("h3", {}, "Links"), neighbours);
  if (name === seen.seen_by) parts.push(...await own());
  return [...parts, ...changesOf(seen, [name])];
}

/* What only the node itself knows. */
async function own() {
  const answer = await fetch("/status", {cache: "no-store", signal: AbortSignal.timeout(5000)});
  if (!answer.ok) return [];
  const status = await answer.json();
  const recovery = make("div", {}), drops = make("div", {});
  table(recovery, "Sequence recovery", [["Peer"], ["Passed", true], ["Discarded", true], ["Lost", true], ["Out of order", true], ["Rogue", true], ["Window", true], ["Free", true]],
    status.sessions.filter((each) => each.recovery && !each.adjacent).map((each) => ({cells: [each.peer,
      ...["passed", "discarded", "lost", "out_of_order", "rogue"].map((key) => count(each.recovery[key])),
      each.window?.packets ? count(each.window.packets) : "", each.window ? Math.round(100 * each.window.margin) + " %" : ""]})), "No sessions that carry traffic.");
  table(drops, "Packets dropped", [["Reason"], ["Packets", true]], Object.entries(status.drops).filter(([, number]) => number > 0)
    .sort((x, y) => y[1] - x[1]).map(([reason, number]) => ({cells: [reason.replaceAll("_", " "), count(number)]})), "None since the node started.");
  return [make("h3", {}, "Sequence recovery"), recovery, make("h3", {}, "Packets dropped"), drops];
}

const KINDS = {link, path, node};

/* Fills the dialog; false when there is no such thing. */
export async function showDetail(seen, kind, id, range) {
  const parts = KINDS[kind] ? await KINDS[kind](seen, id, range).catch(() => [id, make("p", {class: "empty"}, "The node did not answer.")]) : null;
  if (!parts) return false;
  byId("detail-title").textContent = parts[0];
  byId("detail-body").replaceChildren(...parts.slice(1).flat());
  return true;
}
