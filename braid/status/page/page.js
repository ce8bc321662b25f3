// Brings the parts together: news from the node, what the reader has chosen, and drawing again.
"use strict";
import {showDetail} from "./detail.js";
import {byId, make} from "./dom.js";
import {drawMap} from "./map.js";
import {GLYPH, counts, plural, prepare, span, verdict} from "./model.js";
import {showChanges, showLinks, showNodes, showRedundancy, showServices, showTransfers} from "./tables.js";

const state = {seen: null, heard: 0, curves: new Map(), chosen: null, onlyProblems: false, detail: null, range: "10m", own: null};
const THEMES = ["", "light", "dark"];

function show() {
  const seen = state.seen;
  if (!seen) return;
  const judged = verdict(seen);
  const own = seen.nodesByName.get(seen.seen_by);
  byId("title").textContent = "Braid · " + seen.topology;
  document.title = `${judged.word === "OK" ? "" : judged.word + " · "}${seen.topology} – Braid`;
  byId("facts").textContent = `seen by ${seen.seen_by}, up ${span(own?.uptime_s ?? 0)}, topology ${seen.revision.slice(0, 8)}`;
  const box = byId("verdict"), text = judged.reasons.join(", ");
  if (box.dataset.text !== judged.word + text) {
    box.dataset.text = judged.word + text;
    box.className = "verdict " + judged.kind;
    box.replaceChildren(make("span", {class: "word"}, make("span", {"aria-hidden": "true"}, GLYPH[judged.kind] + " "), judged.word), make("span", {class: "reasons"}, text));
  }
  byId("counts").replaceChildren(...counts(seen).map(([name, good, all]) => make("li", {class: good === all ? "good" : "warn"},
    make("strong", {}, String(good), make("span", {class: "soft"}, ` / ${all}`)), make("span", {}, name))));
  const others = seen.nodes.filter((node) => node.revision && node.revision !== seen.revision && !node.stale);
  byId("reload").hidden = !others.length;
  byId("reload").textContent = `${others.length} ${plural(others.length, "node")} with another topology: ${others.map((node) => node.name).join(", ")}.`;
  const service = seen.services.find((each) => each.key === state.chosen) ?? null;
  drawMap(byId("map"), seen, service, open);
  const options = {onlyProblems: state.onlyProblems, chosen: state.chosen, open, choose};
  showServices(seen, state.curves, options);
  showRedundancy(seen);
  showTransfers(state.own);
  showLinks(seen, state.curves, options);
  showNodes(seen, options);
  showChanges(seen);
}

function choose(key) {
  state.chosen = state.chosen === key ? null : key;
  show();
}

function open(kind, id) {
  location.hash = new URLSearchParams({[kind]: id}).toString();
}

async function follow() {
  const [kind, id] = [...new URLSearchParams(location.hash.slice(1))][0] ?? [];
  const dialog = byId("detail");
  state.detail = kind && state.seen ? [kind, id] : null;
  if (state.detail && await showDetail(state.seen, kind, id, state.range)) {
    if (!dialog.open) dialog.showModal();
  } else if (dialog.open) dialog.close();
}

function receive(text) {
  state.seen = prepare(JSON.parse(text));
  state.heard = Date.now();
  show();
}

async function ask(path) {
  const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(8000)});
  if (!answer.ok) throw new Error(String(answer.status));
  return answer;
}

async function remember() {
  try {
    const document = await (await ask("/history?points=60")).json();
    state.curves = new Map(document.curves.map((each) => [[each.node, each.kind, each.name].join("|"), each.values]));
    show();
  } catch {
    // The page shows by its age that the node does not answer.
  }
}

async function askOwn() {
  try {
    state.own = await (await ask("/status")).json();
    show();
  } catch {
    // As above.
  }
}

/* Server-sent events; where they cannot be had (too many readers), asking again and again. */
function listen() {
  const source = new EventSource("/events");
  source.addEventListener("overlay", (event) => receive(event.data));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(poll, 5000);
  });
}
async function poll() {
  try {
    receive(await (await ask("/overlay")).text());
  } finally {
    setTimeout(poll, 5000);
  }
}

function watchAge() {
  const age = (Date.now() - state.heard) / 1000;
  const box = byId("stale");
  box.hidden = age < 10;
  box.textContent = state.heard ? `The node does not answer. Shown: its state of ${span(age)} ago.` : "The node does not answer.";
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme").setAttribute("aria-label", `Colour theme: ${name || "as the system"}`);
  byId("theme").textContent = {"": "◐", light: "☀", dark: "☾"}[name];
}

let chosenTheme = "";
try {
  chosenTheme = localStorage.getItem("theme") ?? "";
} catch {
  // Storage may be switched off; the system's theme is used then.
}
theme(THEMES.includes(chosenTheme) ? chosenTheme : "");
byId("theme").addEventListener("click", () => {
  chosenTheme = THEMES[(THEMES.indexOf(chosenTheme) + 1) % THEMES.length];
  theme(chosenTheme);
  try {
    localStorage.setItem("theme", chosenTheme);
  } catch {
    // As above.
  }
});
byId("only-problems").addEventListener("change", (event) => {
  state.onlyProblems = event.target.checked;
  show();
});
byId("detail-close").addEventListener("click", () => byId("detail").close());
byId("detail").addEventListener("close", () => { if (location.hash) history.pushState(null, "", location.pathname); });
byId("detail").addEventListener("click", (event) => { if (event.target === byId("detail")) byId("detail").close(); });
for (const button of document.querySelectorAll("[data-range]")) {
  button.addEventListener("click", () => {
    state.range = button.dataset.range;
    for (const each of document.querySelectorAll("[data-range]")) each.setAttribute("aria-pressed", String(each === button));
    follow();
  });
}
addEventListener("hashchange", follow);
let drawnWidth = 0;
new ResizeObserver(([box]) => {
  if (Math.abs(box.contentRect.width - drawnWidth) > 1) {
    drawnWidth = box.contentRect.width;
    show();
  }
}).observe(byId("map"));
state.heard = Date.now();
ask("/overlay").then((answer) => answer.text()).then(receive).then(remember).then(follow).catch(() => { state.heard = 0; watchAge(); });
listen();
setInterval(remember, 10000);
askOwn();
setInterval(() => { if (state.own?.transfers) askOwn(); }, 2000);
setInterval(watchAge, 1000);
setInterval(() => { if (state.detail && byId("detail").open) follow(); }, 5000);
