// Curves: small ones in tables, large ones in the drill-down. A gap in the data is a gap in the line.
"use strict";
import {draw, make} from "./dom.js";

/* An SVG path through the values, with a new start after each gap. */
function line(values, width, height, low, high) {
  const step = width / Math.max(1, values.length - 1);
  const y = (value) => height - 2 - ((value - low) / (high - low || 1)) * (height - 4);
  let text = "", open = false;
  values.forEach((value, index) => {
    if (value == null) {
      open = false;
      return;
    }
    const alone = !open && values[index + 1] == null;
    text += `${open ? "L" : "M"}${(index * step).toFixed(1)} ${y(value).toFixed(1)}`;
    if (alone) text += "h1";
    open = true;
  });
  return text;
}

function bounds(values, floor) {
  const known = values.filter((value) => value != null);
  if (!known.length) return null;
  const low = floor ?? Math.min(...known), high = Math.max(...known);
  return high - low < 1e-9 ? [low - 0.5, high + 0.5] : [low, high];
}

/* `health`: 0..1 per point; where it is below 1 the ground is marked. */
export function sparkline(values, health, label) {
  const width = 120, height = 26;
  const range = values && bounds(values);
  if (!range && !health?.some((value) => value != null)) return make("span", {class: "soft", title: "no history yet"}, "–");
  const children = ground(health, width, height);
  if (range) children.push(draw("path", {d: line(values, width, height, ...range), class: "curve"}));
  return draw("svg", {class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label}, children);
}

function ground(health, width, height) {
  if (!health?.length) return [];
  const step = width / health.length, found = [];
  health.forEach((value, index) => {
    if (value == null) return;
    const kind = value >= 0.999 ? "good" : value > 0.001 ? "warn" : "bad";
    found.push(draw("rect", {x: (index * step).toFixed(1), y: kind === "good" ? height - 2 : 0, width: (step + 0.2).toFixed(1),
      height: kind === "good" ? 2 : height, class: "ground " + kind}));
  });
  return found;
}

/* A chart with its scale; `unit` stands behind the numbers. */
export function chart(title, values, seconds, unit, floor) {
  const width = 640, height = 120;
  const range = bounds(values, floor);
  const box = make("figure", {class: "chart"});
  const last = values.findLast((value) => value != null);
  box.append(make("figcaption", {}, title, make("strong", {}, last == null ? " –" : ` ${number(last)} ${unit}`)));
  if (!range) {
    box.append(make("p", {class: "empty"}, "not measured yet"));
    return box;
  }
  const svg = draw("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", preserveAspectRatio: "none",
    "aria-label": `${title}, from ${number(range[0])} to ${number(range[1])} ${unit}`});
  for (const part of [0.25, 0.5, 0.75]) {
    svg.append(draw("line", {x1: 0, x2: width, y1: height * part, y2: height * part, class: "grid"}));
  }
  svg.append(draw("path", {d: line(values, width, height, ...range), class: "curve"}));
  const scale = make("div", {class: "scale soft"}, make("span", {}, `${seconds >= 3600 ? seconds / 3600 + " h" : seconds / 60 + " min"} ago`),
    make("span", {}, `${number(range[0])} to ${number(range[1])} ${unit}`), make("span", {}, "now"));
  box.append(svg, scale);
  return box;
}

export function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 10000) return Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}
