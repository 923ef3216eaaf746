// Small charts drawn as SVG: axes with round numbers, traces, a cursor that reads values.

import { h, s, patch } from "./dom.js";
import { short } from "./format.js";

const LEFT = 46, RIGHT = 8, TOP = 10, BOTTOM = 22;

export function ticks(low, high, wanted) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= wanted) || power * 10;
  const list = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) list.push(Number(at.toPrecision(12)));
  return list;
}

function compact(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  return size >= 1e4 ? `${Number((value / 1e3).toPrecision(3))} k` : short(value);
}

// A chart lives in `box` (a div.chart data-own); `traces` are {points: [[x, y]…], label, shape: "line" | "step", fill}.
export function plot(box, { traces, height, label, xTicks, unit = "", yLow = 0, xName = "", yName = "", band = null, failed = [] }) {
  const width = Math.max(240, box.clientWidth);
  const all = traces.flatMap((trace) => trace.points);
  if (all.length < 2) {
    patch(box, h("p", { class: "empty" }, "Nothing to draw yet."));
    return;
  }
  const bottom = BOTTOM + (xName ? 16 : 0), top = TOP + (yName ? 12 : 0);
  const xs = [...all.map(([x]) => x), ...failed], ys = (band ? [...band.low, ...band.high] : all.map(([, y]) => y)).filter(Number.isFinite);
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1e-9);
  const y0 = yLow === null ? Math.min(...ys) : yLow, y1 = Math.max(...ys, y0 + 1e-9) + (Math.max(...ys) - y0) * 0.06;
  const X = (x) => LEFT + ((x - x0) / (x1 - x0)) * (width - LEFT - RIGHT);
  const Y = (y) => height - bottom - ((y - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const yMarks = ticks(y0, y1, Math.max(2, height / 42)).map((y) => [
    s("line", { class: "grid-line", x1: LEFT, x2: width - RIGHT, y1: Y(y), y2: Y(y) }),
    s("text", { x: LEFT - 8, y: Y(y) + 4, "text-anchor": "end" }, compact(y)),
  ]);
  const xMarks = (xTicks ? xTicks(x0, x1, width) : ticks(x0, x1, width / 90).map((x) => [x, compact(x)])).map(([x, text]) =>
    s("text", { x: X(x), y: height - bottom + 16, "text-anchor": X(x) > width - 40 ? "end" : X(x) < LEFT + 12 ? "start" : "middle" }, text));
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label }, yMarks, xMarks,
    band && s("path", { class: "area", d: bandPath(band, X, Y) }),
    traces.map((trace, place) => drawTrace(trace, trace.colour ?? place, X, Y, Y(y0))),
    failed.map((x) => s("line", { class: "failed", x1: X(x), x2: X(x), y1: height - bottom, y2: height - bottom - 8 })),
    xName && s("text", { x: (LEFT + width) / 2, y: height - 4, "text-anchor": "middle" }, xName),
    yName && s("text", { x: 4, y: 12 }, yName),
    s("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" }));
  const tip = box.querySelector(".tip") || h("div", { class: "tip", hidden: true });
  patch(box, svg, tip);
  readWithPointer(box, { traces, X, x0, x1, width, unit });
}

function drawTrace(trace, colour, X, Y, floor) {
  const d = path(trace.points, X, Y, trace.shape);
  const [first] = trace.points, last = trace.points.at(-1);
  if (!first) return null;
  const area = trace.fill && s("path", { class: "area", d: `${d}L${X(last[0])},${floor}L${X(first[0])},${floor}Z` });
  return [area, s("path", { class: `trace c${colour}`, d })];
}

function path(points, X, Y, shape) {
  return points.map(([x, y], place) => {
    const to = `${X(x).toFixed(1)},${Y(y).toFixed(1)}`;
    if (!place) return `M${to}`;
    return shape === "step" ? `H${X(x).toFixed(1)}V${Y(y).toFixed(1)}` : `L${to}`;
  }).join("");
}

function bandPath({ x, low, high }, X, Y) {
  const there = x.map((at, place) => [at, high[place]]), back = x.map((at, place) => [at, low[place]]).reverse();
  return `${path([...there, ...back], X, Y)}Z`;
}

function readWithPointer(box, { traces, X, x0, x1, width, unit }) {
  const tip = box.querySelector(".tip"), cursor = box.querySelector(".cursor");
  box.onpointerleave = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  box.onpointermove = (event) => {
    const scale = width / box.clientWidth;
    const at = x0 + ((event.offsetX * scale - LEFT) / (width - LEFT - RIGHT)) * (x1 - x0);
    const lines = traces.map((trace) => [trace.label, nearest(trace, at)]).filter(([, point]) => point);
    if (!lines.length) return;
    const x = X(lines[0][1][0]);
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.setAttribute("visibility", "visible");
    patch(tip, ...lines.map(([name, [, y]]) => h("div", {}, `${name} ${short(Math.abs(y) >= 100 ? Math.round(y) : y)}${unit}`)));
    tip.hidden = false;
    tip.style.left = `${Math.min(x / scale + 10, box.clientWidth - tip.offsetWidth)}px`;
    tip.style.top = "4px";
  };
}

function nearest({ points, shape }, at) {
  if (!points.length) return null;
  let best = points[0];
  for (const point of points) {
    if (shape === "step" ? point[0] <= at : Math.abs(point[0] - at) < Math.abs(best[0] - at)) best = point;
  }
  return best;
}

// Labels for a time axis: seconds since the beginning, in round steps.
export function timeTicks(began) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  return (x0, x1, width) => {
    const step = steps.find((size) => (x1 - x0) / size <= width / 80) || 86400;
    const list = [];
    for (let at = began + Math.ceil((x0 - began) / step) * step; at <= x1; at += step) list.push([at, sinceText(at - began)]);
    return list;
  };
}

function sinceText(seconds) {
  const whole = Math.round(seconds), two = (figure) => String(figure).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))} h`;
}
