// A run's results: a picture that suits its space, and the table behind it.

import { h, patch } from "./dom.js";
import { plot, ticks } from "./charts.js";
import { card } from "./overview.js";
import { count, short, words } from "./format.js";

const ROWS = 25;
const choice = { run: "", sort: "index", order: "ascending", offset: 0, value: "", across: "", up: "" };
let page = { columns: [], rows: [], total: 0 };
let shown = { kind: "none", note: "" };
let asked = "";

export function results({ view }) {
  if (!view.runs.length) return [card("Results", "", h("p", { class: "empty" }, "No run seen yet."))];
  if (!view.runs.some(({ run }) => run === choice.run)) choice.run = view.runs[0].run;
  return [
    card("Picture", shown.note, pickers(view),
      h("div", { class: "chart", id: "picture", "data-own": true, "data-key": choice.run })),
    card("Table", page.total ? `rows ${count(choice.offset + 1)} to ${count(choice.offset + page.rows.length)} of ${count(page.total)}` : "",
      h("div", { class: "controls right" },
        h("button", { type: "button", "data-rows": -1, disabled: choice.offset === 0 }, "← previous"),
        h("button", { type: "button", "data-rows": 1, disabled: choice.offset + ROWS >= page.total }, "next →")),
      page.rows.length ? table() : h("p", { class: "empty" }, "No results yet."))];
}

export async function drawResults(root, state) {
  const query = JSON.stringify([choice, settledOf(state.view)]);
  if (query === asked) return false;
  asked = query;
  const base = `/api/runs/${encodeURIComponent(choice.run)}`;
  const { sort, order, offset, value, across, up } = choice;
  const [rows, drawing] = await Promise.all([
    state.get(`${base}/table?${new URLSearchParams({ sort, order, offset, limit: ROWS })}`),
    state.get(`${base}/picture?${new URLSearchParams({ value, across, up })}`)]);
  page = rows ?? page;
  shown = drawing ?? shown;
  redrawPicture(root);
  return true;
}

// Looked at again when the run has grown by a percent, not with every chunk.
function settledOf(view) {
  const run = view.runs.find((candidate) => candidate.run === choice.run);
  return run && [run.status, Math.floor((100 * (run.done + run.dead)) / Math.max(1, run.size))];
}

export function chooseResults(changes) {
  if (changes.run) Object.assign(choice, { sort: "index", order: "ascending", offset: 0, value: "", across: "", up: "" });
  Object.assign(choice, changes);
}

export function sortResults(name) {
  const order = choice.sort === name && choice.order === "ascending" ? "descending" : "ascending";
  Object.assign(choice, { sort: name, order, offset: 0 });
}

export function turnResults(step) {
  choice.offset = Math.max(0, choice.offset + step * ROWS);
}

export function redrawPicture(root) {
  const box = root.querySelector("#picture");
  if (!box) return;
  if (shown.kind === "heat") heat(box, shown);
  else if (shown.kind === "line") line(box, shown);
  else if (shown.kind === "scatter") scatter(box, shown);
  else patch(box, h("p", { class: "empty" }, shown.note || "Nothing to draw yet."));
}

function pickers(view) {
  const named = (role) => page.columns.filter((column) => column.role === role && column.numeric).map(({ name }) => name);
  const parameters = named("parameter");
  return h("div", { class: "controls" },
    picker("run", "run", view.runs.map(({ run }) => run), choice.run),
    named("result").length > 1 && picker("result", "value", named("result"), choice.value || shown.value_name || shown.y_name),
    parameters.length > 1 && picker("across", "across", parameters, choice.across || shown.x_name),
    parameters.length > 1 && shown.kind === "heat" && picker("up", "up", parameters, choice.up || shown.y_name));
}

function picker(text, field, names, current) {
  return h("label", {}, text, h("select", { "data-choose": field, "data-key": names.join("|") },
    names.map((name) => h("option", { value: name, selected: name === current }, name))));
}

function table() {
  const head = page.columns.map(({ name, numeric }) => h("th", { scope: "col", class: numeric ? "number" : null,
    "aria-sort": choice.sort === name ? choice.order : "none" }, h("button", { type: "button", "data-sort": name }, words(name))));
  return h("div", { class: "scroll" }, h("table", { "aria-label": `Results of ${choice.run}` }, h("thead", {}, h("tr", {}, head)),
    h("tbody", {}, page.rows.map((row) => h("tr", {}, row.map((cell, place) =>
      h("td", { class: page.columns[place].numeric ? "number" : null }, short(cell))))))));
}

// -- pictures

function line(box, { x, y, low, high, x_name: xName, y_name: yName, note }) {
  const band = high.some((value, place) => value !== low[place]) ? { x, low, high } : null;
  plot(box, { traces: [{ points: x.map((at, place) => [at, y[place]]), label: yName }], height: 340, yLow: null, xName, yName, band, label: note });
}

const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function shade(share) {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1), low = Math.min(STOPS.length - 2, Math.floor(at));
  const mix = STOPS[low].map((figure, place) => Math.round(figure + (STOPS[low + 1][place] - figure) * (at - low)));
  return `rgb(${mix.join(" ")})`;
}

function canvasIn(box, height, label) {
  const canvas = h("canvas", { role: "img", "aria-label": label }), tip = h("div", { class: "tip", hidden: true });
  box.replaceChildren(canvas, tip);
  const width = box.clientWidth, ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
  canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = `${height}px`;
  pen.scale(ratio, ratio);
  pen.font = "11.5px system-ui, sans-serif";
  const style = getComputedStyle(document.documentElement);
  return { canvas, tip, pen, width, colour: (name) => style.getPropertyValue(name).trim() };
}

const FRAME = { left: 58, right: 92, top: 22, bottom: 42 };

function axes(pen, colour, { width, height, xName, yName, xMarks, yMarks, right }) {
  pen.fillStyle = colour("--muted");
  pen.textAlign = "center";
  xMarks.forEach(([place, text]) => pen.fillText(text, place, height - FRAME.bottom + 16));
  pen.fillText(xName, (FRAME.left + width - right) / 2, height - 6);
  pen.textAlign = "end";
  yMarks.forEach(([place, text]) => pen.fillText(text, FRAME.left - 7, place + 4));
  pen.textAlign = "start";
  pen.fillText(yName, 4, 12);
}

function spread(values, from, to) {
  const every = Math.max(1, Math.ceil(values.length / Math.max(2, Math.abs(to - from) / 60)));
  const step = (to - from) / values.length;
  return values.map((value, place) => [from + (place + 0.5) * step, short(value)]).filter((mark, place) => place % every === 0);
}

function heat(box, { x, y, cells, x_name: xName, y_name: yName, value_name: valueName, note }) {
  const height = 380, { canvas, tip, pen, width, colour } = canvasIn(box, height, note);
  const known = cells.flat().filter((cell) => cell !== null), low = Math.min(...known), high = Math.max(...known);
  const w = (width - FRAME.left - FRAME.right) / x.length, t = (height - FRAME.top - FRAME.bottom) / y.length;
  cells.forEach((row, up) => row.forEach((cell, across) => {
    pen.fillStyle = cell === null ? colour("--sunken") : shade((cell - low) / (high - low || 1));
    const [left, right] = [across, across + 1].map((edge) => Math.round(FRAME.left + edge * w));
    const [below, above] = [up, up + 1].map((edge) => Math.round(height - FRAME.bottom - edge * t));
    pen.fillRect(left, above, right - left, below - above);
  }));
  axes(pen, colour, { width, height, xName, yName, right: FRAME.right,
    xMarks: spread(x, FRAME.left, width - FRAME.right), yMarks: spread(y, height - FRAME.bottom, FRAME.top) });
  scale(pen, colour, { width, height, low, high, valueName });
  canvas.onpointerleave = () => { tip.hidden = true; };
  canvas.onpointermove = ({ offsetX, offsetY }) => {
    const across = Math.floor((offsetX - FRAME.left) / w), up = Math.floor((height - FRAME.bottom - offsetY) / t);
    const cell = cells[up]?.[across];
    tip.hidden = cell === undefined || cell === null;
    if (tip.hidden) return;
    tip.textContent = `${xName} ${short(x[across])}, ${yName} ${short(y[up])}: ${valueName} ${short(cell)}`;
    tip.style.left = `${Math.min(offsetX + 12, width - tip.offsetWidth)}px`;
    tip.style.top = `${offsetY + 14}px`;
  };
}

function scale(pen, colour, { width, height, low, high, valueName }) {
  const left = width - FRAME.right + 18, room = height - FRAME.top - FRAME.bottom;
  for (let step = 0; step < room; step += 1) {
    pen.fillStyle = shade(step / room);
    pen.fillRect(left, height - FRAME.bottom - step - 1, 12, 1.5);
  }
  pen.fillStyle = colour("--muted");
  for (const mark of ticks(low, high, 5)) {
    if (mark <= high) pen.fillText(short(mark), left + 18, height - FRAME.bottom - ((mark - low) / (high - low || 1)) * room + 4);
  }
  pen.textAlign = "end";
  pen.fillText(valueName, width - 4, 12);
  pen.textAlign = "start";
}

function scatter(box, { x, y, x_name: xName, y_name: yName, note }) {
  const height = 360, right = 10, { pen, width, colour } = canvasIn(box, height, note);
  const [x0, x1, y0, y1] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
  const X = (at) => FRAME.left + ((at - x0) / (x1 - x0 || 1)) * (width - FRAME.left - right);
  const Y = (at) => height - FRAME.bottom - ((at - y0) / (y1 - y0 || 1)) * (height - FRAME.top - FRAME.bottom);
  const yMarks = ticks(y0, y1, 6).map((mark) => [Y(mark), short(mark)]);
  pen.strokeStyle = colour("--line");
  yMarks.forEach(([at]) => { pen.beginPath(); pen.moveTo(FRAME.left, at); pen.lineTo(width - right, at); pen.stroke(); });
  axes(pen, colour, { width, height, xName, yName, right, yMarks, xMarks: ticks(x0, x1, width / 90).map((mark) => [X(mark), short(mark)]) });
  pen.fillStyle = colour("--accent");
  pen.globalAlpha = x.length > 800 ? 0.35 : 0.7;
  x.forEach((at, place) => { pen.beginPath(); pen.arc(X(at), Y(y[place]), 2, 0, 7); pen.fill(); });
}
