// Services, links, nodes and changes as tables; each row opens its drill-down.
"use strict";
import {byId, make, pill, table} from "./dom.js";
import {clock, count, millis, pathKey, percent, rank, since, span, tone, word} from "./model.js";
import {sparkline} from "./spark.js";

const MOST_ROWS = 60;
/* `curves` holds {field: values} by "node|kind|name". */
const curveOf = (curves, node, kind, name) => curves.get([node, kind, name].join("|")) ?? {};
export const pathName = (path) => path.destination
  + (path.route.length > 1 ? ` via ${path.route.slice(0, -1).join(" > ")}` : " (direct)");

export function showServices(seen, curves, options) {
  const shown = seen.services.filter((each) => !options.onlyProblems || each.state !== "protected");
  const box = byId("services-body");
  const focused = document.activeElement?.dataset?.row;
  if (!shown.length) {
    box.replaceChildren(make("p", {class: "empty"}, seen.services.length ? "No problems: every service is protected." : "No service is known yet."));
    return;
  }
  box.replaceChildren(...shown.map((each) => service(each, seen, curves, options)));
  if (focused) [...box.querySelectorAll("[data-row]")].find((item) => item.dataset.row === focused)?.focus();
}

function service(each, seen, curves, options) {
  const chosen = options.chosen === each.key;
  const kind = tone(each.state);
  const head = make("div", {class: "service-head"},
    make("button", {type: "button", class: "open", "data-row": each.key, "aria-pressed": String(chosen), onclick: () => options.choose(each.key),
      title: "Show its paths on the map"},
      pill(kind, word(each.state)), make("strong", {}, ` ${each.application} `),
      make("span", {class: "ends"}, each.source, make("span", {class: "soft"}, " → "), each.destination)),
    each.state === "protected" ? make("span", {class: "why reason"}, each.why) : make("span", {class: "sentence"}, each.sentence),
    make("span", {class: "soft since", title: each.since == null ? "" : clock(each.since) + " UTC"}, each.since == null ? "" : `for ${since(each.since, seen.at)}`));
  const rows = make("div", {class: "strands"}, each.paths.map((path, index) => strand(path, index, seen, curves, options)));
  const why = each.why && each.state !== "protected" ? make("p", {class: "why"}, each.why) : "";
  return make("article", {class: `service ${kind}${chosen ? " chosen" : ""}`}, head, rows, whole(each), why);
}

/* What the receiver made of all paths together. */
function whole(each) {
  if (each.passed == null) return "";
  const joint = each.joint_loss == null ? "–" : percent(each.joint_loss, 3);
  const facts = [
    ["lost on all paths", joint, each.joint_probes ? `of the ${count(each.joint_probes)} probes of the last 10 minutes that went out on all of them` : "not measured yet"],
    ["delivered", count(each.passed), "packets of this sender, of all its applications"], ["eliminated", count(each.eliminated), "further copies"],
    ["repaired", count(each.repaired), "copies lost of packets that another copy brought"],
    ["out of order", count(each.out_of_order), "packets that came after later ones"], ["lost", count(each.lost), "packets of which no copy came"],
  ];
  return make("p", {class: "whole"}, facts.map(([name, text, hint]) => make("span", {title: hint}, make("small", {}, name + " "), text)));
}

function strand(path, index, seen, curves, options) {
  const values = curveOf(curves, path.source, "path", pathName(path));
  const share = path.first_share;
  const stops = path.route.slice(0, -1).map((stop, position) => make("span", {class: "stop"}, stop, make("small", {}, path.regions[position])));
  const fact = (name, text, hint) => make("span", {class: "fact", title: hint}, make("small", {}, name), text);
  const measured = ["rtt_ms", "loss"].some((key) => path[key] != null);
  const bar = make("span", {class: "share", role: "img", "aria-label": share == null ? "no first copies lately" : `${percent(share, 0)} of the first copies`});
  const part = make("i", {class: "s" + index % 4});
  part.style.setProperty("width", `${(share ?? 0) * 100}%`);
  bar.append(part);
  return make("div", {class: "strand " + path.state},
    make("span", {class: "mark s" + index % 4, "aria-hidden": "true"}),
    make("button", {type: "button", class: "open route", "data-row": pathKey(path), onclick: () => options.open("path", pathKey(path)),
      "aria-label": `path via ${path.route.slice(0, -1).join(", ")}, ${word(path.state)}`}, stops.length ? stops : "direct"),
    path.state === "up" ? make("span", {class: "quiet-up"}, pill("good", "up")) : pill(tone(path.state), word(path.state), path.detail),
    make("span", {class: "shares"}, bar, make("small", {}, share == null ? "idle" : percent(share, 0) + " first")),
    measured ? [fact("round trip", millis(path.rtt_ms)), fact("loss", percent(path.loss, 2))]
      : make("span", {class: "fact wide"}, make("small", {}, "round trip, loss"), make("small", {}, "not measured yet")),
    fact("sent", count(path.sent)), fact("kept", count(path.kept)), fact("eliminated", count(path.eliminated)), fact("lost", count(path.lost), "sent on this path and not arrived, since both nodes started"),
    sparkline(values.rtt_ms ?? values.sent_per_s ?? values.first_share, values.up, "state of the last 10 minutes"),
    path.detail ? make("span", {class: "why detail"}, path.detail + (path.since == null || path.state === "up" ? "" : `, since ${clock(path.since)} UTC`)) : "");
}

const VERDICTS = {"MET": "good", "NOT PROVABLE YET": "unknown", "BEST EFFORT": "warn", "BUDGET": "warn", "NOT DIVERSE": "bad"};
const tiny = (value) => value >= 0.01 ? percent(value, 1) : value.toExponential(1);

/* What the applications with a target loss are worth, from every node that sends for them, in words; nothing where there are none. */
export function showRedundancy(seen) {
  const items = seen.redundancy ?? [];
  byId("redundancy").hidden = !items.length;
  if (!items.length) return;
  const rows = items.map((item) => ({
    id: [item.application, item.source, item.destination].join("|"),
    cells: [
      make("span", {}, make("strong", {}, item.application), make("span", {class: "soft"}, ` ${item.source} → ${item.destination}`)),
      item.stale ? pill("none", "no news", "nothing was heard of this node lately")
        : make("span", {}, pill(VERDICTS[item.verdict] ?? "unknown", item.verdict), make("small", {class: "soft"}, item.text.slice(item.verdict.length))),
      make("span", {}, `${item.paths} of ${item.candidates}`, item.mode === "surge" ? make("strong", {}, " surge") : ""),
      make("span", {title: `estimate ${tiny(item.estimate)}`}, `≤ ${tiny(item.bound)}`, make("span", {class: "soft"}, ` of ${tiny(item.target)}`)),
      make("span", {}, item.mean_copies.toFixed(3), make("span", {class: "soft"}, ` of ${item.budget.toFixed(2)}`)),
      `${item.surges}, longest ${span(item.longest_surge_s)}`,
      count(item.repaired),
      make("span", {title: `of ${count(item.settled)} packets whose fate is known`}, count(item.lost)),
    ],
  }));
  table(byId("redundancy-body"), "Redundancy", [["Application"], ["Target"], ["Paths"], ["Joint loss", true], ["Copies", true], ["Surges", true],
    ["Repaired", true], ["Lost", true]], rows, "");
}

/* Of the node that the page comes from, which is a gateway or a content proxy; nothing elsewhere. */
export function showTransfers(status) {
  const found = status?.transfers;
  byId("transfers").hidden = !found;
  if (!found) return;
  byId("transfers-node").textContent = status.role === "content" ? "of clients to this node, and back" : "of clients from this node to content proxies, and back";
  const reasons = Object.entries(found.refused).map(([name, number]) => `${name} ${count(number)}`).join(", ");
  const refused = Object.values(found.refused).reduce((sum, each) => sum + each, 0);
  const cells = [status.name, count(found.open), count(found.requests), count(found.moved), count(found.returned),
    make("span", {}, count(refused), reasons ? make("div", {class: "why"}, reasons) : ""), found.moved ? millis(found.seconds / found.moved * 1000) : "–"];
  const columns = [["Node"], ["Open now", true], ["Offered", true], ["Moved", true], ["Came back", true], ["Refused", true], ["Mean wait", true]];
  if (status.role === "content") {
    columns.push(["Sent", true]);
    cells.push(`${(found.bytes / 1e6).toFixed(1)}\u00a0MB`);
  }
  table(byId("transfers-body"), "Connection transfers", columns, [{id: status.name, cells}], "");
}

export function showLinks(seen, curves, options) {
  const measured = (key) => seen.links.some((link) => link[key] != null);
  const columns = [["Link"], ["State"], ["Round trip", true]];
  if (measured("jitter_ms")) columns.push(["Jitter", true]);
  if (measured("loss")) columns.push(["Loss", true]);
  columns.push(["Since", true], ["10 min"]);
  const matching = seen.links.filter((link) => !options.onlyProblems || link.state !== "up");
  const rows = matching.slice(0, MOST_ROWS).map((link) => {
    const values = curveOf(curves, link.a, "link", link.b);
    const cells = [`${link.a} – ${link.b}`, [pill(tone(link.state), word(link.state)), link.detail ? make("div", {class: "why"}, link.detail) : ""], millis(link.rtt_ms)];
    if (measured("jitter_ms")) cells.push(millis(link.jitter_ms));
    if (measured("loss")) cells.push(percent(link.loss, 2));
    cells.push(since(link.since, seen.at), sparkline(values.rtt_ms, values.up, `round trip of ${link.a} – ${link.b}, last 10 minutes`));
    return {id: link.a + "|" + link.b, cells, open: () => options.open("link", link.a + "|" + link.b)};
  });
  table(byId("links-body"), "Links between nodes, worst first", columns, rows, options.onlyProblems ? "Every link works." : "No link is known yet.");
  if (matching.length > MOST_ROWS) byId("links-body").append(make("p", {class: "why"}, `The ${MOST_ROWS} worst of ${matching.length}.`));
  const absent = [["jitter_ms", "jitter"], ["loss", "loss"]].filter(([key]) => !measured(key)).map(([, name]) => name);
  if (absent.length && rows.length) byId("links-body").append(make("p", {class: "why"}, `Not measured yet: ${absent.join(", ")}.`));
}

export function showNodes(seen, options) {
  const own = seen.nodesByName.get(seen.seen_by)?.revision;
  const order = (node) => node.stale ? 1 : node.ready ? 2 : 0;
  const rows = [...seen.nodes].sort((x, y) => order(x) - order(y)).map((node) => {
    const state = node.age_s == null ? pill("none", "no news", "nothing was heard of it lately") : node.stale ? pill("none", `no news for ${span(node.age_s)}`)
      : node.draining ? pill("warn", "draining") : pill(node.ready ? "good" : "bad", node.ready ? "ready" : "not ready");
    const differs = node.revision && own && node.revision !== own;
    return {
      id: node.name,
      open: () => options.open("node", node.name),
      cells: [node.name, [state, node.problem ? make("div", {class: "why"}, node.problem) : ""], node.role, node.place || node.region,
        node.uptime_s == null ? "–" : span(node.uptime_s),
        differs ? pill("warn", node.revision.slice(0, 8), "another topology than this node's") : node.revision.slice(0, 8) || "–"],
    };
  });
  table(byId("nodes-body"), "Nodes", [["Node"], ["State"], ["Role"], ["Place"], ["Up", true], ["Topology"]], rows, "No node is known yet.");
}

export function showChanges(seen) {
  const box = byId("changes-body");
  if (!seen.changes.length) {
    box.replaceChildren(make("li", {class: "empty"}, "None yet."));
    return;
  }
  box.replaceChildren(...seen.changes.slice(0, 40).map(changeItem));
}

export function changeItem(change) {
  return make("li", {class: change.tone},
    make("time", {datetime: new Date(change.at * 1000).toISOString(), title: new Date(change.at * 1000).toISOString()}, clock(change.at)),
    make("span", {class: "mark", "aria-hidden": "true"}),
    make("div", {}, make("span", {}, change.text), change.cause ? make("span", {class: "why"}, " " + change.cause) : "",
      change.node ? make("small", {class: "soft"}, " " + change.node) : ""));
}

export const worst = (items) => [...items].sort((x, y) => rank(x.state) - rank(y.state));
