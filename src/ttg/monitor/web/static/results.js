// A run's results: a picture that suits its space, and the table behind it.

import { h, longText, patch } from "./dom.js";
import { plot, ticks } from "./charts.js";
import { card } from "./overview.js";
import { choose } from "./route.js";
import { count, short, words } from "./format.js";

const ROWS = 25;
const EMPTY = { columns: [], rows: [], total: 0 };
let page = EMPTY, shown = { kind: "none", note: "" }, asked = "", problem = "", of = "";

const choices = () => {
  const chosen = Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? ""));
  return { sort: "index", order: "ascending", value: "", across: "", up: "", ...chosen, offset: Number(chosen.offset) || 0 };
};

const inPython = (place) => `import ttg\n\nrun = ttg.open_run(${JSON.stringify(place)})\nframe = run.dataframe()  # or run.table(), run[i], for row in run`;

export function results({ route: { run }, page: { folder } }) {
  const { offset } = choices();
  if (of !== run) [page, shown, problem, of] = [EMPTY, { kind: "none", note: "" }, "", run];
  if (problem) return [card("Results", "", h("p", { class: "empty" }, problem))];
  return [
    card("Picture", shown.note, pickers(),
      h("div", { class: "chart", id: "picture", "data-own": true, "data-key": run })),
    card("Table", page.total ? `rows ${count(offset + 1)} to ${count(offset + page.rows.length)} of ${count(page.total)}` : "",
      h("div", { class: "controls right" },
        h("button", { type: "button", "data-rows": -1, disabled: offset === 0 }, "← previous"),
        h("button", { type: "button", "data-rows": 1, disabled: offset + ROWS >= page.total }, "next →"),
        ["csv", "parquet"].map((format) => h("a", { href: `/api/runs/${encodeURIComponent(run)}/download?format=${format}`, download: `${run}.${format}` }, `download ${format}`))),
      page.rows.length ? table(run) : h("p", { class: "empty" }, "No results yet.")),
    h("details", { class: "card" }, h("summary", {}, "In Python"), h("pre", { tabindex: 0 }, inPython(folder || run)),
      h("button", { type: "button", "data-copy": true }, "Copy"))];
}

export async function drawResults(root, state) {
  const { run } = state.route, { sort, order, offset, value, across, up } = choices();
  const query = JSON.stringify([run, sort, order, offset, value, across, up, settledOf(state.page.view)]);
  if (query === asked) {
    if (root.querySelector("#picture")?.childElementCount === 0) redrawPicture(root);
    return false;
  }
  asked = query;
  const base = `/api/runs/${encodeURIComponent(run)}`;
  const [rows, drawing] = await Promise.all([
    state.get(`${base}/table?${new URLSearchParams({ sort, order, offset, limit: ROWS })}`),
    state.get(`${base}/picture?${new URLSearchParams({ value, across, up })}`)]);
  problem = rows?.error ?? "";
  if (rows && !rows.error) page = rows;
  if (drawing && !drawing.error) shown = drawing;
  redrawPicture(root);
  return true;
}

// Looked at again when the run has grown by a percent, not with every chunk.
const settledOf = (view) => [view.status, Math.floor((100 * (view.done + view.dead)) / Math.max(1, view.size))];

export const chooseResults = (changes) => choose(changes);

export function sortResults(name) {
  const now = choices(), order = now.sort === name && now.order === "ascending" ? "descending" : "";
  choose({ sort: name, order, offset: "" });
}

export function turnResults(step) {
  choose({ offset: Math.max(0, choices().offset + step * ROWS) || "" });
}

export function redrawPicture(root) {
  const box = root.querySelector("#picture");
  if (!box) return;
  if (shown.kind === "heat") heat(box, shown);
  else if (shown.kind === "line") line(box, shown);
  else if (shown.kind === "scatter") scatter(box, shown);
  else patch(box, h("p", { class: "empty" }, shown.note || "Nothing to draw yet."));
}

function pickers() {
  const named = (role) => page.columns.filter((column) => column.role === role && column.numeric).map(({ name }) => name);
  const parameters = named("parameter"), choice = choices();
  return h("div", { class: "controls" },
    named("result").length > 1 && picker("result", "value", named("result"), choice.value || shown.value_name || shown.y_name),
    parameters.length > 1 && picker("across", "across", parameters, choice.across || shown.x_name),
    parameters.length > 1 && shown.kind === "heat" && picker("up", "up", parameters, choice.up || shown.y_name));
}

function picker(text, field, names, current) {
  return h("label", {}, text, h("select", { "data-choose": field, "data-key": names.join("|") },
    names.map((name) => h("option", { value: name, selected: name === current }, name))));
}

function table(run) {
  const { sort, order } = choices();
  const head = page.columns.map(({ name, numeric }) => h("th", { scope: "col", class: numeric ? "number" : null,
    "aria-sort": sort === name ? order : "none" }, h("button", { type: "button", "data-sort": name }, words(name))));
  return h("div", { class: "scroll" }, h("table", { "aria-label": `Results of ${run}` }, h("thead", {}, h("tr", {}, head)),
    h("tbody", {}, page.rows.map((row) => h("tr", {}, row.map((cell, place) =>
      h("td", { class: page.columns[place].numeric ? "number" : null }, longText(short(cell)))))))));
}

// -- pictures

function line(box, { x, y, low, high, failed, x_name: xName, y_name: yName, note }) {
  const band = high.some((value, place) => value !== low[place]) ? { x, low, high } : null;
  plot(box, { traces: [{ points: x.map((at, place) => [at, y[place]]), label: yName }], height: 340, yLow: null, xName, yName, band, failed, label: note });
}

const FAILED = 1, NOT_A_NUMBER = 2;
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

function shade(share) {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1), low = Math.min(STOPS.length - 2, Math.floor(at));
  const mix = STOPS[low].map((figure, place) => Math.round(figure + (STOPS[low + 1][place] - figure) * (at - low)));
  return `rgb(${mix.join(" ")})`;
}

function canvasIn(box, height, label, legend) {
  const canvas = h("canvas", { role: "img", tabindex: 0, "aria-label": label }), tip = h("div", { class: "tip", hidden: true, "aria-live": "polite" });
  box.replaceChildren(canvas, tip, legend ?? "");
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
  return values.map((value, place) => [from + (place + 0.5) * step, short(Number(value.toPrecision(3)))]).filter((mark, place) => place % every === 0);
}

function heat(box, { x, y, cells, marks, x_name: xName, y_name: yName, value_name: valueName, note }) {
  const marked = marks.flat(), open = cells.flat().some((cell, place) => cell === null && !marked[place]);
  const words = [[marked.includes(FAILED), "failed", "given up"], [marked.includes(NOT_A_NUMBER), "nameless", "not a number"], [open, "open", "not computed"]];
  const legend = h("div", { class: "legend" }, words.filter(([there]) => there).map(([, kind, text]) => h("span", { class: kind }, text)));
  const height = 380, { canvas, tip, pen, width, colour } = canvasIn(box, height, `${note}. Arrow keys step through cells.`, legend);
  const known = cells.flat().filter((cell) => cell !== null);
  const [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
  const w = (width - FRAME.left - FRAME.right) / x.length, t = (height - FRAME.top - FRAME.bottom) / y.length;
  cells.forEach((row, up) => row.forEach((cell, across) => {
    pen.fillStyle = cell === null ? colour("--sunken") : shade((cell - low) / (high - low || 1));
    const [left, right] = [across, across + 1].map((edge) => Math.round(FRAME.left + edge * w));
    const [below, above] = [up, up + 1].map((edge) => Math.round(height - FRAME.bottom - edge * t));
    pen.fillRect(left, above, right - left, below - above);
    if (marks[up][across]) crossOut(pen, colour(marks[up][across] === FAILED ? "--red" : "--amber"), left, above, right - left, below - above);
  }));
  axes(pen, colour, { width, height, xName, yName, right: FRAME.right,
    xMarks: spread(x, FRAME.left, width - FRAME.right), yMarks: spread(y, height - FRAME.bottom, FRAME.top) });
  scale(pen, colour, { width, height, low, high, valueName });
  const text = (across, up) => {
    const cell = cells[up]?.[across];
    if (cell === undefined) return "";
    const what = cell !== null ? `${valueName} ${short(cell)}` : ["not computed", "given up", "not a number"][marks[up][across]];
    return `${xName} ${short(x[across])}, ${yName} ${short(y[up])}: ${what}`;
  };
  const point = (across, up) => {
    tip.hidden = !(tip.textContent = text(across, up));
    tip.style.left = `${Math.max(0, Math.min(FRAME.left + (across + 0.5) * w + 12, width - tip.offsetWidth))}px`;
    tip.style.top = `${height - FRAME.bottom - (up + 0.5) * t + 14}px`;
  };
  let [column, row] = [-1, y.length - 1];
  canvas.onblur = canvas.onpointerleave = () => { tip.hidden = true; };
  canvas.onpointermove = ({ offsetX, offsetY }) => point(Math.floor((offsetX - FRAME.left) / w), Math.floor((height - FRAME.bottom - offsetY) / t));
  canvas.onkeydown = (event) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    column = Math.max(0, Math.min(x.length - 1, column + step[0]));
    row = Math.max(0, Math.min(y.length - 1, row + step[1]));
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

function scatter(box, { x, y, failed, x_name: xName, y_name: yName, note }) {
  const height = 360, right = 10, { pen, width, colour } = canvasIn(box, height, note);
  const [x0, x1, y0, y1] = [Math.min(...x, ...failed), Math.max(...x, ...failed), Math.min(...y), Math.max(...y)];
  const X = (at) => FRAME.left + ((at - x0) / (x1 - x0 || 1)) * (width - FRAME.left - right);
  const Y = (at) => height - FRAME.bottom - ((at - y0) / (y1 - y0 || 1)) * (height - FRAME.top - FRAME.bottom);
  const yMarks = ticks(y0, y1, 6).map((mark) => [Y(mark), short(mark)]);
  pen.strokeStyle = colour("--line");
  yMarks.forEach(([at]) => { pen.beginPath(); pen.moveTo(FRAME.left, at); pen.lineTo(width - right, at); pen.stroke(); });
  axes(pen, colour, { width, height, xName, yName, right, yMarks, xMarks: ticks(x0, x1, width / 90).map((mark) => [X(mark), short(mark)]) });
  pen.fillStyle = colour("--accent");
  pen.globalAlpha = x.length > 800 ? 0.35 : 0.7;
  x.forEach((at, place) => { pen.beginPath(); pen.arc(X(at), Y(y[place]), 2, 0, 7); pen.fill(); });
  pen.globalAlpha = 1;
  pen.strokeStyle = colour("--red");
  failed.forEach((at) => { pen.beginPath(); pen.moveTo(X(at), height - FRAME.bottom); pen.lineTo(X(at), height - FRAME.bottom - 7); pen.stroke(); });
}
