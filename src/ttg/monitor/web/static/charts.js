// Small charts drawn as SVG: axes with round numbers, traces, a cursor that reads values.

import { h, s, patch } from "./dom.js";
import { short } from "./format.js";

const LEFT = 46, RIGHT = 8, TOP = 10, BOTTOM = 22;
const HUES = 8;

export function ticks(low, high, wanted) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= wanted) || power * 10;
  const list = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) list.push(Number(at.toPrecision(12)));
  return list;
}

// Powers of ten, with 2 and 5 between them where there is room.
function logTicks(low, high, wanted) {
  const decades = Math.log10(high / low), factors = decades * 3 <= wanted ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / wanted)), list = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
    if (factors.length === 1 && power % every) continue;
    list.push(...factors.map((factor) => Number(`${factor}e${power}`)).filter((at) => at >= low * 0.999999 && at <= high * 1.000001));
  }
  return list.length > 1 ? list : ticks(low, high, wanted);
}

export function compact(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  return size >= 1e4 ? `${Number((value / 1e3).toPrecision(3))} k` : short(value);
}

// From values to places on the screen, and `marks`: [value, text] at round numbers, powers of ten, or names.
export function axis({ scale = "linear", labels = [] }, low, high, from, to, wanted) {
  const log = scale === "log" && low > 0, f = log ? Math.log : Number;
  const place = (value) => from + ((f(value) - f(low)) / (f(high) - f(low) || 1)) * (to - from);
  const every = Math.max(1, Math.ceil(labels.length / Math.max(1, wanted)));
  const marks = scale === "category" ? labels.map((text, at) => [at, text]).filter(([at]) => at % every === 0)
    : (log ? logTicks : ticks)(low, high, wanted).map((at) => [at, compact(at)]);
  return { place, marks };
}

export function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 1] : [low, high];
}

// A chart lives in `box` (a div.chart data-own); `traces` are {points: [[x, y]…], label, shape: "line" | "step" | "points", fill, band, stroke}.
export function plot(box, { traces, height, label, xTicks, unit = "", yLow = 0, xName = "", yName = "", failed = [], xSide = {} }) {
  const width = Math.max(240, box.clientWidth);
  const all = traces.flatMap((trace) => trace.points);
  if (all.length < (xSide.scale === "category" ? 1 : 2)) {
    patch(box, h("p", { class: "empty" }, "Nothing to draw yet."));
    return;
  }
  const bottom = BOTTOM + (xName ? 16 : 0), top = TOP + (yName ? 12 : 0);
  const [x0, x1] = xSide.scale === "category" ? [-0.5, xSide.labels.length - 0.5] : widened(extent([...all.map(([x]) => x), ...failed]));
  const [least, most] = widened(extent(traces.flatMap(({ points, band }) => (band ? [...band.low, ...band.high] : points.map(([, y]) => y)))));
  const y0 = yLow === null ? least : yLow, y1 = Math.max(most, y0 + 1e-9) + (most - y0) * 0.06;
  const across = axis(xSide, x0, x1, LEFT, width - RIGHT, width / 90), X = across.place;
  const Y = (y) => height - bottom - ((y - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const yMarks = ticks(y0, y1, Math.max(2, height / 42)).map((y) => [
    s("line", { class: "grid-line", x1: LEFT, x2: width - RIGHT, y1: Y(y), y2: Y(y) }),
    s("text", { x: LEFT - 8, y: Y(y) + 4, "text-anchor": "end" }, compact(y)),
  ]);
  const xMarks = (xTicks ? xTicks(x0, x1, width) : across.marks).map(([x, text]) =>
    s("text", { x: X(x), y: height - bottom + 16, "text-anchor": X(x) > width - 40 ? "end" : X(x) < LEFT + 12 ? "start" : "middle" }, text));
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label }, yMarks, xMarks,
    traces.map((trace, place) => drawTrace(trace, trace.colour ?? place, X, Y, Y(y0))),
    failed.map((x) => s("line", { class: "failed", x1: X(x), x2: X(x), y1: height - bottom, y2: height - bottom - 8 })),
    xName && s("text", { x: (LEFT + width) / 2, y: height - 4, "text-anchor": "middle" }, xName),
    yName && s("text", { x: 4, y: 12 }, yName),
    s("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" }));
  const tip = box.querySelector(".tip") || h("div", { class: "tip", hidden: true });
  patch(box, svg, tip);
  readWithPointer(box, { traces, X, width, unit, xSide: xName && xSide, xName });
}

const widened = ([low, high]) => (high > low ? [low, high] : [low, low + 1e-9]);

function drawTrace(trace, colour, X, Y, floor) {
  const known = trace.points.filter(([, y]) => y !== null);
  if (!known.length) return null;
  const hue = trace.stroke ? "" : `c${colour % HUES}`, { stroke = null, band } = trace;
  if (trace.shape === "points") return known.map(([x, y], place) => pointOf(X(x), Y(y), hue, band && [Y(band.low[place]), Y(band.high[place])]));
  const d = path(trace.points, X, Y, trace.shape);
  const area = trace.fill && s("path", { class: "area", d: `${d}L${X(known.at(-1)[0])},${floor}L${X(known[0][0])},${floor}Z` });
  return [band && s("path", { class: `area ${hue}`, d: bandPath(band, X, Y) }), area, s("path", { class: `trace ${hue}`, d, stroke })];
}

function pointOf(x, y, hue, whisker) {
  return [whisker && s("line", { class: `trace ${hue}`, x1: x, x2: x, y1: whisker[0], y2: whisker[1] }), s("circle", { class: `dot ${hue}`, cx: x, cy: y, r: 4 })];
}

// A point without a value interrupts the line.
function path(points, X, Y, shape) {
  let going = false;
  return points.map(([x, y]) => {
    if (y === null) { going = false; return ""; }
    const to = `${X(x).toFixed(1)},${Y(y).toFixed(1)}`, first = !going;
    going = true;
    if (first) return `M${to}`;
    return shape === "step" ? `H${X(x).toFixed(1)}V${Y(y).toFixed(1)}` : `L${to}`;
  }).join("");
}

function bandPath({ x, low, high }, X, Y) {
  const there = x.map((at, place) => [at, high[place]]), back = x.map((at, place) => [at, low[place]]).reverse();
  return `${path([...there, ...back], X, Y)}Z`;
}

function readWithPointer(box, { traces, X, width, unit, xSide, xName }) {
  const tip = box.querySelector(".tip"), cursor = box.querySelector(".cursor");
  box.onpointerleave = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  box.onpointermove = (event) => {
    const scale = width / box.clientWidth, at = event.offsetX * scale;
    const lines = traces.map((trace) => [trace.label, nearest(trace, X, at)]).filter(([, point]) => point);
    if (!lines.length) return;
    const x = X(lines[0][1][0]);
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.setAttribute("visibility", "visible");
    const where = xSide ? [h("div", {}, `${xName} ${xSide.labels?.[lines[0][1][0]] ?? short(lines[0][1][0])}`)] : [];
    patch(tip, ...where, ...lines.slice(0, 12).map(([name, [, y]]) => h("div", {}, `${name} ${short(Math.abs(y) >= 100 ? Math.round(y) : y)}${unit}`)));
    tip.hidden = false;
    tip.style.left = `${Math.min(x / scale + 10, box.clientWidth - tip.offsetWidth)}px`;
    tip.style.top = "4px";
  };
}

function nearest({ points, shape }, X, at) {
  if (!points.length) return null;
  let best = points[0];
  for (const point of points) {
    if (point[1] === null) continue;
    if (shape === "step" ? X(point[0]) <= at : Math.abs(X(point[0]) - at) < Math.abs(X(best[0]) - at)) best = point;
  }
  return best[1] === null ? null : best;
}

// A line of a few steps in percent, for a cell of a table.
export function sparkline(values, label) {
  if (values.length < 4) return null;
  const d = values.map((value, place) => `${place ? "L" : "M"}${((place / (values.length - 1)) * 78 + 1).toFixed(1)},${(21 - value * 0.2).toFixed(1)}`).join("");
  return s("svg", { class: "spark", viewBox: "0 0 80 22", width: 80, height: 22, role: "img", "aria-label": label }, s("path", { class: "trace c0", d }));
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
