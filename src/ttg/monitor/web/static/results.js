// A run's results: a picture that suits its space, and the table behind it.

import { h, longText } from "./dom.js";
import { card } from "./overview.js";
import { draw } from "./pictures.js";
import { choose } from "./route.js";
import { count, short, words } from "./format.js";

const ROWS = 25;
const EMPTY = { columns: [], rows: [], total: 0 };
let page = EMPTY, shown = { kind: "none", note: "" }, asked = "", problem = "", of = "";

const HELD = "held.";

const choices = () => {
  const chosen = Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? ""));
  const held = Object.entries(chosen).filter(([name]) => name.startsWith(HELD)).map(([name, place]) => `${name.slice(HELD.length)}:${place}`);
  return { sort: "index", order: "ascending", value: "", across: "", up: "", ...chosen, held, offset: Number(chosen.offset) || 0 };
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
        ["csv", "parquet"].map((format) => h("a", { href: `/api/runs/${encodeURIComponent(run)}/download?format=${format}`, download: `${run}.${format}` }, `download ${format}`)),
        h("button", { type: "button", "data-copy": inPython(folder || run) }, "copy as Python")),
      page.rows.length ? table(run) : h("p", { class: "empty" }, "No results yet.")),
    h("details", { class: "card" }, h("summary", {}, "In Python"), h("pre", { tabindex: 0 }, inPython(folder || run)))];
}

export async function drawResults(root, state) {
  const { run } = state.route, { sort, order, offset, value, across, up, held } = choices();
  const query = JSON.stringify([run, sort, order, offset, value, across, up, held, settledOf(state.page.view)]);
  if (query === asked) {
    if (root.querySelector("#picture")?.childElementCount === 0) redrawPicture(root);
    return false;
  }
  asked = query;
  const base = `/api/runs/${encodeURIComponent(run)}`;
  const [rows, drawing] = await Promise.all([
    state.get(`${base}/table?${new URLSearchParams({ sort, order, offset, limit: ROWS })}`),
    state.get(`${base}/picture?${new URLSearchParams([["value", value], ["across", across], ["up", up], ...held.map((one) => ["held", one])])}`)]);
  problem = rows?.error ?? "";
  if (rows && !rows.error) page = rows;
  if (drawing && !drawing.error) shown = drawing;
  redrawPicture(root);
  return true;
}

// Looked at again when the run has grown by a percent, not with every chunk.
const settledOf = (view) => [view.status, Math.floor((100 * (view.done + view.dead)) / Math.max(1, view.size))];

export const chooseResults = (name, value) => choose({ [name]: name.startsWith(HELD) && value === "-1" ? "" : value });

export function sortResults(name) {
  const now = choices(), order = now.sort === name && now.order === "ascending" ? "descending" : "";
  choose({ sort: name, order, offset: "" });
}

export function turnResults(step) {
  choose({ offset: Math.max(0, choices().offset + step * ROWS) || "" });
}

export function redrawPicture(root) {
  const box = root.querySelector("#picture");
  if (box) draw(box, shown);
}

function pickers() {
  const named = (role, ...kinds) => page.columns.filter((column) => column.role === role && kinds.includes(column.kind)).map(({ name }) => name);
  const values = named("result", "number", "curve"), parameters = shown.axes ?? [], choice = choices();
  const byName = shown.kind === "lines" && shown.by, second = byName || shown.up?.name;
  return [h("div", { class: "controls" },
    values.length > 1 && picker("result", "value", values, choice.value || shown.value),
    parameters.length > 1 && shown.kind !== "curves" && picker("across", "across", parameters, choice.across || shown.across?.name),
    parameters.length > 1 && parameters.includes(second) && picker(byName ? "a line for each" : "up", "up", parameters, choice.up || second)),
  shown.further?.length > 0 && h("div", { class: "controls" }, shown.further.map(slider))];
}

// A further axis: at the left end the mean over all of it, then each of its values.
function slider({ name, values, chosen }) {
  return h("label", { class: "slider", "data-key": name }, name,
    h("input", { type: "range", min: -1, max: values.length - 1, step: 1, value: chosen, "data-choose": `${HELD}${name}`, "aria-valuetext": values[chosen] ?? "mean over all" }),
    h("output", {}, values[chosen] ?? "mean over all"));
}

function picker(text, field, names, current) {
  return h("label", {}, text, h("select", { "data-choose": field, "data-key": names.join("|") },
    names.map((name) => h("option", { value: name, selected: name === current }, name))));
}

function table(run) {
  const { sort, order } = choices();
  const head = page.columns.map(({ name, kind }) => h("th", { scope: "col", class: kind === "number" ? "number" : null,
    "aria-sort": sort === name ? order : "none" }, h("button", { type: "button", "data-sort": name }, words(name))));
  return h("div", { class: "scroll" }, h("table", { "aria-label": `Results of ${run}` }, h("thead", {}, h("tr", {}, head)),
    h("tbody", {}, page.rows.map((row) => h("tr", {}, row.map((cell, place) =>
      h("td", { class: page.columns[place].kind === "number" ? "number" : null }, longText(short(cell)))))))));
}
