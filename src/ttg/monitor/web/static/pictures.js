// Pictures of results: lines and curves as SVG; heat maps and points, which are thousands of marks, on a canvas.

import { h, patch } from "./dom.js";
import { axis, compact, extent, plot, ticks } from "./charts.js";
import { short } from "./format.js";

const FAILED = 1, NOT_A_NUMBER = 2;
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const FRAME = { left: 58, right: 92, top: 22, bottom: 42 };

export function draw(box, picture) {
  const way = { lines, curves, scatter, heat }[picture.kind];
  if (way) way(box, picture);
  else patch(box, h("p", { class: "empty" }, picture.note || "Nothing to draw yet."));
}

function shade(share) {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1), low = Math.min(STOPS.length - 2, Math.floor(at));
  const mix = STOPS[low].map((figure, place) => Math.round(figure + (STOPS[low + 1][place] - figure) * (at - low)));
  return `rgb(${mix.join(" ")})`;
}

// -- over one axis

function lines(box, { traces, across, up, failed, note }) {
  const names = across.scale === "category", alone = traces.length === 1;
  const drawn = traces.map(({ label, x, y, low, high }) => ({ label, points: x.map((at, place) => [at, y[place]]), shape: names ? "points" : "line",
    band: alone && high.some((value, place) => value !== low[place]) ? { x, low, high } : null }));
  box.querySelector(".legend")?.remove();
  plot(box, { traces: drawn, height: 340, yLow: null, xName: across.name, yName: up.name, xSide: across, failed, label: note });
  if (!alone) box.append(legendOf(traces.map(({ label }) => label)));
}

const legendOf = (labels) => h("div", { class: "legend" }, labels.map((label, place) => h("span", { class: `l${place % 8}` }, label)));

function curves(box, { traces, across, up, note }) {
  const drawn = traces.map(({ label, x, y, shade: share }) => ({ label, points: x.map((at, place) => [at, y[place]]), stroke: shade(share ?? 0) }));
  plot(box, { traces: drawn, height: 340, yLow: null, xName: across.name, yName: up.name, xSide: across, label: note });
}

// -- on a canvas

function canvasIn(box, height, label, legend) {
  const canvas = h("canvas", { role: "img", tabindex: 0, "aria-label": label }), tip = h("div", { class: "tip", hidden: true, "aria-live": "polite" });
  box.replaceChildren(canvas, tip, legend ?? "");
  const width = box.clientWidth, ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
  canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = `${height}px`;
  pen.scale(ratio, ratio);
  pen.font = "11.5px system-ui, sans-serif";
  const style = getComputedStyle(document.documentElement);
  return { canvas, tip, pen, width, height, colour: (name) => style.getPropertyValue(name).trim() };
}

function axes({ pen, colour, width, height }, across, up, x, y, right) {
  pen.fillStyle = colour("--muted");
  pen.textAlign = "center";
  x.marks.forEach(([at, text]) => pen.fillText(clipped(pen, text, 84), x.place(at), height - FRAME.bottom + 16));
  pen.fillText(across.name, (FRAME.left + width - right) / 2, height - 6);
  pen.textAlign = "end";
  y.marks.forEach(([at, text]) => pen.fillText(clipped(pen, text, FRAME.left - 9), FRAME.left - 7, y.place(at) + 4));
  pen.textAlign = "start";
  pen.fillText(up.name, 4, 12);
}

function clipped(pen, text, room) {
  let shown = text;
  while (shown.length > 2 && pen.measureText(shown).width > room) shown = `${shown.slice(0, -2)}…`;
  return shown;
}

function scale({ pen, colour, width, height }, low, high, name) {
  const left = width - FRAME.right + 18, room = height - FRAME.top - FRAME.bottom;
  for (let step = 0; step < room; step += 1) {
    pen.fillStyle = shade(step / room);
    pen.fillRect(left, height - FRAME.bottom - step - 1, 12, 1.5);
  }
  pen.fillStyle = colour("--muted");
  for (const mark of ticks(low, high, 5)) {
    if (mark <= high) pen.fillText(compact(mark), left + 18, height - FRAME.bottom - ((mark - low) / (high - low || 1)) * room + 4);
  }
  pen.textAlign = "end";
  pen.fillText(name, width - 4, 12);
  pen.textAlign = "start";
}

const inWords = (side, value) => side.labels?.[value] ?? short(value);

function heat(box, { x: across, y: up, x_edges: xs, y_edges: ys, cells, marks, across: xSide, up: ySide, value, note }) {
  const marked = marks.flat(), open = cells.flat().some((cell, place) => cell === null && !marked[place]);
  const words = [[marked.includes(FAILED), "failed", "given up"], [marked.includes(NOT_A_NUMBER), "nameless", "not a number"], [open, "open", "not computed"]];
  const legend = h("div", { class: "legend" }, words.filter(([there]) => there).map(([, kind, text]) => h("span", { class: kind }, text)));
  const paper = canvasIn(box, 380, `${note}. Arrow keys step through cells.`, legend), { pen, width, height, colour } = paper;
  const [low, high] = extent(cells.flat());
  const x = axis(xSide, xs[0], xs.at(-1), FRAME.left, width - FRAME.right, (width - FRAME.left - FRAME.right) / 70);
  const y = axis(ySide, ys[0], ys.at(-1), height - FRAME.bottom, FRAME.top, (height - FRAME.top - FRAME.bottom) / 32);
  cells.forEach((row, place) => row.forEach((cell, column) => {
    pen.fillStyle = cell === null ? colour("--sunken") : shade((cell - low) / (high - low || 1));
    const [left, right] = [xs[column], xs[column + 1]].map((edge) => Math.round(x.place(edge)));
    const [below, above] = [ys[place], ys[place + 1]].map((edge) => Math.round(y.place(edge)));
    pen.fillRect(left, above, right - left, below - above);
    if (marks[place][column]) crossOut(pen, colour(marks[place][column] === FAILED ? "--red" : "--amber"), left, above, right - left, below - above);
  }));
  axes(paper, xSide, ySide, x, y, FRAME.right);
  scale(paper, low, high, value);
  const text = (column, row) => {
    const cell = cells[row]?.[column];
    if (cell === undefined) return "";
    const what = cell !== null ? `${value} ${short(cell)}` : ["not computed", "given up", "not a number"][marks[row][column]];
    return `${xSide.name} ${inWords(xSide, across[column])}, ${ySide.name} ${inWords(ySide, up[row])}: ${what}`;
  };
  const at = (edges, side, pixel) => edges.slice(1).findIndex((edge) => (side === x ? pixel <= x.place(edge) : pixel >= y.place(edge)));
  readCells(paper, { columns: across.length, rows: up.length, text,
    find: (left, top) => [left < FRAME.left ? -1 : at(xs, x, left), top > height - FRAME.bottom ? -1 : at(ys, y, top)],
    place: (column, row) => [x.place(across[column]), y.place(up[row])] });
}

function readCells({ canvas, tip, width }, { columns, rows, text, find, place }) {
  const point = (column, row) => {
    tip.hidden = !(tip.textContent = text(column, row));
    if (tip.hidden) return;
    const [left, top] = place(column, row);
    tip.style.left = `${Math.max(0, Math.min(left + 12, width - tip.offsetWidth))}px`;
    tip.style.top = `${top + 14}px`;
  };
  let [column, row] = [-1, rows - 1];
  canvas.onblur = canvas.onpointerleave = () => { tip.hidden = true; };
  canvas.onpointermove = ({ offsetX, offsetY }) => point(...find(offsetX, offsetY));
  canvas.onkeydown = (event) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    column = Math.max(0, Math.min(columns - 1, column + step[0]));
    row = Math.max(0, Math.min(rows - 1, row + step[1]));
    point(column, row);
  };
}

function crossOut(pen, colour, left, top, width, height) {
  pen.fillStyle = colour;
  pen.globalAlpha = 0.3;
  pen.fillRect(left, top, width, height);
  pen.globalAlpha = 1;
  pen.strokeStyle = colour;
  if (width < 6 || height < 6) return;
  pen.beginPath(); pen.moveTo(left + 2, top + height - 2); pen.lineTo(left + width - 2, top + 2); pen.stroke();
}

function scatter(box, { x, y, colour: values, failed, failed_y: failedY, across, up, value, note }) {
  const coloured = values.length > 0, right = coloured ? FRAME.right : 14;
  const legend = failed.length > 0 && h("div", { class: "legend" }, h("span", { class: "killed" }, "given up"));
  const paper = canvasIn(box, coloured ? 420 : 360, `${note}. Arrow keys step through points.`, legend || null), { pen, width, height, colour } = paper;
  const [x0, x1] = extent([...x, ...failed]), [y0, y1] = extent([...y, ...failedY]), [low, high] = extent(values);
  const X = axis(across, x0, x1, FRAME.left, width - right, width / 90), Y = axis(up, y0, y1, height - FRAME.bottom, FRAME.top, 8);
  pen.strokeStyle = colour("--line");
  Y.marks.forEach(([at]) => { pen.beginPath(); pen.moveTo(FRAME.left, Y.place(at)); pen.lineTo(width - right, Y.place(at)); pen.stroke(); });
  axes(paper, across, up, X, Y, right);
  pen.fillStyle = colour("--accent");
  pen.globalAlpha = coloured ? 0.9 : x.length > 800 ? 0.35 : 0.7;
  pen.lineWidth = 0.6;
  pen.strokeStyle = colour("--muted");
  const size = coloured ? (x.length > 1500 ? 2.2 : 3.2) : 2;
  x.forEach((at, place) => {
    if (coloured) pen.fillStyle = shade((values[place] - low) / (high - low || 1));
    pen.beginPath(); pen.arc(X.place(at), Y.place(y[place]), size, 0, 7); pen.fill();
    if (coloured) pen.stroke();
  });
  pen.globalAlpha = pen.lineWidth = 1;
  pen.strokeStyle = colour("--red");
  failed.forEach((at, place) => cross(pen, X.place(at), failedY.length ? Y.place(failedY[place]) : height - FRAME.bottom));
  if (coloured) scale(paper, low, high, value);
  readPoints(paper, x, y, X, Y, (place) => `${across.name} ${short(x[place])}, ${up.name} ${short(y[place])}${coloured ? `: ${value} ${short(values[place])}` : ""}`);
}

function cross(pen, x, y) {
  pen.beginPath(); pen.moveTo(x - 3, y - 3); pen.lineTo(x + 3, y + 3); pen.moveTo(x + 3, y - 3); pen.lineTo(x - 3, y + 3); pen.stroke();
}

function readPoints({ canvas, tip, width }, x, y, X, Y, text) {
  let chosen = -1;
  const show = (place) => {
    tip.hidden = !(tip.textContent = place < 0 ? "" : text(place));
    tip.style.left = `${Math.max(0, Math.min(X.place(x[place] ?? 0) + 12, width - tip.offsetWidth))}px`;
    tip.style.top = `${Y.place(y[place] ?? 0) + 14}px`;
  };
  const order = x.map((_, place) => place).sort((one, other) => x[one] - x[other]);
  canvas.onblur = canvas.onpointerleave = () => { tip.hidden = true; };
  canvas.onpointermove = ({ offsetX, offsetY }) => {
    const away = (place) => (X.place(x[place]) - offsetX) ** 2 + (Y.place(y[place]) - offsetY) ** 2;
    const best = order.reduce((found, place) => (found < 0 || away(place) < away(found) ? place : found), -1);
    show(best >= 0 && away(best) < 144 ? best : -1);
  };
  canvas.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !order.length) return;
    event.preventDefault();
    chosen = Math.max(0, Math.min(order.length - 1, chosen + step));
    show(order[chosen]);
  };
}
