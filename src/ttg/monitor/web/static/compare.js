// Several runs beside each other: what differs between them, and one result of all over one parameter.

import { h, longText } from "./dom.js";
import { draw } from "./pictures.js";
import { card } from "./overview.js";
import { asList, runAddress } from "./route.js";
import { count, day, duration, rate, statusWords } from "./format.js";

const AGAIN_AFTER_MS = 5000;
let found = null, asked = "", at = -Infinity, problem = "";

export const compareTitle = (runs) => (runs.length ? `Compare ${runs.join(", ")}` : "Compare");

export function comparison({ route: { runs, chosen } }) {
  const current = found && found.of === asList(runs) ? found : null;
  if (problem && !current) return [card("Not possible", "", h("p", { class: "empty" }, problem), h("p", {}, h("a", { href: "#runs" }, "All runs")))];
  if (!current) return [card("Compare", "", h("p", { class: "empty" }, "Looking at the runs …"))];
  return [card("Picture", current.picture.note, pickers(current, chosen), h("div", { class: "chart", id: "compared", "data-own": true, "data-key": current.of })),
    card("Settings and figures", "≠ marks what is not the same in all", table(current))];
}

function pickers({ values, axes, picture }, chosen) {
  const pick = (text, name, names, current) => names.length > 1 && h("label", {}, text, h("select", { "data-choose": name, "data-key": names.join("|") },
    names.map((one) => h("option", { value: one, selected: one === current }, one))));
  return h("div", { class: "controls" }, pick("result", "value", values, chosen.value || picture.value), pick("across", "across", axes, chosen.across || picture.across.name));
}

function table({ runs, settings }) {
  const figures = [["state", (run) => statusWords(run.status)], ["started", (run) => day(run.started)], ["took", (run) => duration(run.seconds)],
    ["done", (run) => `${count(run.done)} of ${count(run.size)}`], ["given up", (run) => count(run.dead)], ["rate", (run) => `${rate(run.rate)}/s`]];
  const head = runs.map(({ run }, place) => h("th", { scope: "col" }, h("span", { class: `key l${place % 8}` }), h("a", { href: runAddress(run) }, run)));
  const row = (name, values, differs) => h("tr", { class: differs ? "differs" : null }, h("th", { scope: "row" }, differs && h("span", { class: "mark", role: "img", "aria-label": "differs" }, "≠"), name),
    values.map((value) => h("td", {}, longText(value || "–"))));
  return h("div", { class: "scroll" }, h("table", { "aria-label": "Settings and figures", class: "compared" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "what"), head)),
    h("tbody", {}, settings.map(({ name, values, differs }) => row(name, values, differs)), figures.map(([name, of]) => row(name, runs.map(of), false)))));
}

export async function drawComparison(root, state) {
  const { runs, chosen: { value = "", across = "" } } = state.route, of = asList(runs);
  const query = new URLSearchParams([...runs.map((run) => ["run", run]), ["value", value], ["across", across]]).toString();
  const goesOn = found?.runs.some(({ status }) => status === "active");
  if (query === asked && !(goesOn && performance.now() - at > AGAIN_AFTER_MS)) {
    if (root.querySelector("#compared")?.childElementCount === 0) redrawComparison(root);
    return false;
  }
  [asked, at] = [query, performance.now()];
  const answer = await state.get(`/api/compare?${query}`);
  problem = answer ? answer.error ?? "" : "The dashboard does not answer.";
  if (answer && !answer.error) found = { of, ...answer };
  redrawComparison(root);
  return true;
}

export function redrawComparison(root) {
  const box = root.querySelector("#compared");
  if (box && found) draw(box, found.picture);
}
