// The topology: regions in columns (rows on a narrow screen), links by health, the chosen service's paths as strands.
"use strict";
import {draw} from "./dom.js";
import {hops, rank, word} from "./model.js";

const CARD = {width: 148, height: 62, narrow: 104};
/* Links beyond which those that work step back. */
const DENSE = 60;
const ORDER = ["edge", "intermediate", "gateway"];
const ROLE = {edge: "edge", intermediate: "intermediate", gateway: "gateway", dns: "DNS", content: "content"};

/* {nodes, links} per region, and where each region's card is. */
function layout(seen, width) {
  const tall = width < 640;
  const lanes = ORDER.map((role) => seen.regions.filter((region) => region.role === role));
  lanes[0] = lanes[0].concat(seen.regions.filter((region) => !ORDER.includes(region.role)));
  const most = Math.max(...lanes.map((lane) => lane.length), 1);
  const size = {width: tall ? CARD.narrow : CARD.width, height: most > 14 && !tall ? 34 : CARD.height};
  const across = tall ? Math.max(width, most * (size.width + 10)) : width;
  const down = tall ? 3 * size.height + 2 * 96 : Math.max(250, most * (size.height + 22));
  const places = new Map();
  lanes.forEach((lane, column) => lane.forEach((region, index) => {
    const along = (index + 0.5) / lane.length;
    const middle = tall
      ? [along * across, size.height / 2 + column * (size.height + 92) + 4]
      : [size.width / 2 + 2 + column * (across - size.width - 4) / 2, along * down];
    places.set(region.name, {x: middle[0], y: middle[1], column, region});
  }));
  return {tall, width: across, height: down + 8, size, places};
}

function curve(from, to, plan, shift = 0) {
  if (from.column === to.column) {
    const bow = (plan.tall ? plan.size.height : plan.size.width) * 0.5 + 34;
    return plan.tall
      ? `M${from.x} ${from.y}C${from.x} ${from.y + bow} ${to.x} ${to.y + bow} ${to.x} ${to.y}`
      : `M${from.x} ${from.y}C${from.x + bow} ${from.y} ${to.x + bow} ${to.y} ${to.x} ${to.y}`;
  }
  if (plan.tall) {
    const half = (from.y + to.y) / 2;
    return `M${from.x + shift} ${from.y}C${from.x + shift} ${half} ${to.x + shift} ${half} ${to.x + shift} ${to.y}`;
  }
  const half = (from.x + to.x) / 2;
  return `M${from.x} ${from.y + shift}C${half} ${from.y + shift} ${half} ${to.y + shift} ${to.x} ${to.y + shift}`;
}

function regionLinks(seen) {
  const joined = new Map();
  for (const link of seen.links) {
    const ends = [seen.nodesByName.get(link.a)?.region, seen.nodesByName.get(link.b)?.region];
    if (!ends[0] || !ends[1] || ends[0] === ends[1]) continue;
    const key = ends.slice().sort().join("|");
    const known = joined.get(key) ?? {ends, links: [], carries: 0};
    known.links.push(link);
    known.carries += link.carries;
    joined.set(key, known);
  }
  for (const each of joined.values()) {
    each.links.sort((x, y) => rank(x.state) - rank(y.state));
    const up = each.links.some((link) => link.state === "up");
    each.state = up && each.links[0].state !== "up" ? "one_way" : each.links[0].state;
  }
  return [...joined.values()];
}

/* `open(kind, id)` is called for a region's node or a link; `service` is the chosen one or null. */
export function drawMap(box, seen, service, open) {
  const plan = layout(seen, Math.max(300, box.clientWidth));
  const svg = draw("svg", {width: plan.width, height: plan.height, viewBox: `0 0 ${plan.width} ${plan.height}`,
    class: `${service ? "chosen" : ""}${seen.links.length > DENSE ? " dense" : ""}`, role: "group", "aria-label": "Regions and the links between them"});
  const links = regionLinks(seen).sort((x, y) => rank(y.state) - rank(x.state));
  for (const each of links) {
    const [from, to] = each.ends.map((name) => plan.places.get(name));
    if (!from || !to) continue;
    const first = each.links[0];
    const text = `${from.region.name} – ${to.region.name}: ${word(each.state)}` +
      (first.rtt_ms == null ? "" : `, ${first.rtt_ms.toFixed(1)} ms`) + (first.detail ? `. ${first.detail}` : "");
    const shape = curve(from, to, plan);
    svg.append(draw("g", {class: `link ${each.state}${each.carries ? " used" : ""}`, onclick: () => open("link", `${first.a}|${first.b}`)},
      draw("title", {}, text), draw("path", {d: shape, class: "touch"}), draw("path", {d: shape, class: "stroke"})));
  }
  if (service) svg.append(...strands(seen, service, plan));
  for (const place of plan.places.values()) svg.append(card(seen, place, plan, open));
  const focused = document.activeElement?.dataset?.region;
  box.replaceChildren(svg);
  if (focused) [...box.querySelectorAll("[data-region]")].find((each) => each.dataset.region === focused)?.focus();
}

function strands(seen, service, plan) {
  const found = [];
  service.paths.forEach((path, index) => {
    const shift = (index - (service.paths.length - 1) / 2) * 6;
    for (const [one, other] of hops(path)) {
      const from = plan.places.get(seen.nodesByName.get(one)?.region), to = plan.places.get(seen.nodesByName.get(other)?.region);
      if (from && to && from !== to) {
        found.push(draw("path", {d: curve(from, to, plan, shift), class: `strand s${index % 4} ${path.state}`}));
      }
    }
  });
  return found;
}

function card(seen, place, plan, open) {
  const {region} = place, {width, height} = plan.size;
  const nodes = seen.nodes.filter((node) => node.region === region.name);
  const bad = nodes.filter((node) => node.ready === false), lost = nodes.filter((node) => node.stale);
  const kind = bad.length === nodes.length ? "bad" : bad.length ? "warn" : lost.length === nodes.length ? "none" : lost.length ? "warn" : "good";
  const here = nodes.some((node) => node.name === seen.seen_by);
  const state = {good: "ready", warn: "partly ready", bad: "not ready", none: "no news"}[kind];
  const act = () => open("node", nodes[0]?.name);
  const group = draw("g", {class: `region ${kind}${here ? " here" : ""}`, tabindex: 0, role: "button", "data-region": region.name,
    transform: `translate(${place.x - width / 2} ${place.y - height / 2})`, onclick: act,
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); } },
    "aria-label": `${ROLE[region.role]} region ${region.name}, ${region.place}: ${state}${here ? "; this page comes from here" : ""}`},
    draw("title", {}, [region.name, ...region.shared_risk.map((risk) => "risk " + risk), ...nodes.map((node) => node.name)].join("\n")),
    draw("rect", {width, height, rx: 9}));
  const compact = height < 50;
  const room = Math.floor((width - 20) / 7.6);
  group.append(draw("text", {x: 12, y: compact ? 22 : 23, class: "place"}, cut(region.place || region.name, room)));
  if (!compact) group.append(draw("text", {x: 12, y: 39, class: "name"}, cut(region.name, Math.floor((width - 20) / 6.4))));
  nodes.slice(0, compact ? 1 : 8).forEach((node, index) => {
    const one = node.stale ? "none" : node.ready ? "good" : "bad";
    group.append(draw("circle", {cx: compact ? width - 14 : 16 + index * 13, cy: compact ? 17 : 51, r: 4.2, class: "dot " + one}));
  });
  return group;
}

const cut = (text, room) => text.length > room ? text.slice(0, room - 1) + "…" : text;
