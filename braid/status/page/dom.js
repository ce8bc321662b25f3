// Making elements. Everything that comes from the network goes in as text, never as HTML.
"use strict";
import {GLYPH} from "./model.js";

const SVG = "http://www.w3.org/2000/svg";
export const byId = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  return fill(document.createElement(tag), options, children);
}
export function draw(tag, options = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), options, children);
}
function fill(node, options, children) {
  for (const [name, value] of Object.entries(options)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== ""));
  return node;
}
export function pill(kind, text, title) {
  return make("span", {class: "pill " + kind, title}, make("span", {"aria-hidden": "true"}, GLYPH[kind] ?? ""), " " + text);
}

/* columns: [name, numeric, key]; rows: {id, cells, open, tone}. Keeps the focus where it is when it draws again. */
export function table(box, caption, columns, rows, empty) {
  const focused = document.activeElement?.dataset?.row;
  if (!rows.length) {
    box.replaceChildren(make("p", {class: "empty"}, empty));
    return;
  }
  const head = make("tr", {}, columns.map(([name, numeric]) => make("th", {scope: "col", class: numeric ? "num" : ""}, name)));
  const body = rows.map((row) => make("tr", {class: row.class}, row.cells.map((cell, index) => {
    const [name, numeric] = columns[index];
    const content = index === 0 && row.open
      ? make("button", {type: "button", class: "open", "data-row": row.id, onclick: row.open}, cell) : cell;
    return make(index === 0 ? "th" : "td", {scope: index === 0 ? "row" : null, class: numeric ? "num" : "", "data-name": name},
      make("div", {}, content));
  })));
  box.replaceChildren(make("table", {}, make("caption", {class: "hidden"}, caption), make("thead", {}, head),
    make("tbody", {}, body)));
  if (focused) [...box.querySelectorAll("[data-row]")].find((each) => each.dataset.row === focused)?.focus();
}
