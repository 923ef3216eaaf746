// All runs that are known here, of folders and of the broker: to search, to sort, to open.

import { h, longText } from "./dom.js";
import { card } from "./overview.js";
import { sparkline } from "./charts.js";
import { asList, choose, compareAddress, listed, runAddress } from "./route.js";
import { count, day, duration, statusWords } from "./format.js";

const AGAIN_AFTER_MS = 5000, SHOWN = 500, MOST_COMPARED = 8;
const COLUMNS = [
  ["run", "run", ({ view }) => view.run], ["function", "function less", ({ view }) => view.function],
  ["state", "", ({ view }) => view.status], ["started", "number less", ({ view }) => view.started],
  ["took", "number less", ({ view }) => view.seconds], ["done", "number", ({ view }) => view.done / Math.max(1, view.size)],
  ["given up", "number", ({ view }) => view.dead],
];
let entries = null, asked = -Infinity, problem = "";

export function runs({ route: { chosen } }) {
  if (!entries) return [card("Runs", "", h("p", { class: "empty" }, problem || "Looking for runs …"))];
  const found = sorted(entries.filter(({ view }) => matches(view, chosen.find ?? "")), chosen);
  const total = found.length === entries.length ? count(entries.length) : `${count(found.length)} of ${count(entries.length)}`;
  return [card("All runs", total,
    h("div", { class: "controls" }, h("label", {}, "search", h("input", { id: "find-run", type: "search", size: 24,
      placeholder: "name, function or state…", value: chosen.find ?? "", "data-own": true })), comparing(chosen)),
    found.length ? table(found.slice(0, SHOWN), chosen) : h("p", { class: "empty" }, entries.length ? "No run is like that."
      : ["No run yet. Start one with ", h("code", {}, "ttg run"), "."]),
    found.length > SHOWN && h("p", { class: "note" }, `The first ${count(SHOWN)} are shown: search for others.`))];
}

export async function drawRuns(root, state) {
  if (performance.now() - asked < AGAIN_AFTER_MS) return false;
  asked = performance.now();
  const fresh = await state.get("/api/runs");
  if (!fresh) return false;
  if (fresh.error) problem = fresh.error; else entries = fresh;
  return true;
}

// Which runs are checked is in the address, as all choices are.
function comparing(chosen) {
  const picked = listed(chosen.pick ?? "");
  if (picked.length < 2) return h("span", { class: "note" }, picked.length ? "Check another one to compare them." : "Check runs to compare them.");
  return [h("a", { class: "button", href: compareAddress(picked) }, `Compare ${count(picked.length)} runs`),
    h("button", { type: "button", "data-pick-none": true }, "Uncheck all")];
}

export function pickRun(run, checked, { chosen }) {
  const others = listed(chosen.pick ?? "").filter((one) => one !== run);
  choose({ pick: asList(checked ? [...others, run].slice(-MOST_COMPARED) : others) }, { quietly: true });
}

export const pickNone = () => choose({ pick: "" }, { quietly: true });

const orderOf = ({ by = "started", order }) => order ?? (by === "started" ? "descending" : "ascending");

export function sortRuns(name, { chosen }) {
  const { by = "started" } = chosen;
  choose({ by: name, order: by === name && orderOf(chosen) === "descending" ? "ascending" : "descending" });
}

function matches({ run, function: name, status }, text) {
  const words = text.toLowerCase().split(/\s+/);
  const all = `${run} ${name} ${statusWords(status)}`.toLowerCase();
  return words.every((word) => all.includes(word));
}

function sorted(list, chosen) {
  const [, , of] = COLUMNS.find(([name]) => name === chosen.by) ?? COLUMNS[3];
  const way = orderOf(chosen) === "descending" ? -1 : 1;
  return [...list].sort((one, other) => way * (of(one) < of(other) ? -1 : of(one) > of(other) ? 1 : 0));
}

function table(rows, chosen) {
  const ordered = (name) => ((chosen.by ?? "started") === name ? orderOf(chosen) : "none");
  const head = COLUMNS.map(([name, kind]) => h("th", { scope: "col", class: kind || null, "aria-sort": ordered(name) },
    h("button", { type: "button", "data-runs": name }, name)));
  const picked = listed(chosen.pick ?? "");
  return h("div", { class: "scroll" }, h("table", { "aria-label": "All runs", class: "runs" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "compare")), head, h("th", { scope: "col", class: "less" }, "pace"))),
    h("tbody", {}, rows.map((entry) => row(entry, picked)))));
}

const stateOf = (view) => (view.stale ? "stale" : view.paused ? "paused" : view.status);

function row({ view, folder, pace }, picked) {
  const percent = view.size ? (100 * (view.done + view.dead)) / view.size : 100;
  return h("tr", { "data-key": view.run },
    h("td", {}, h("input", { type: "checkbox", "data-pick": view.run, checked: picked.includes(view.run), "aria-label": `compare ${view.run}` })),
    h("td", { class: "run" }, h("a", { href: runAddress(view.run), title: folder || "known from the broker" }, view.run)),
    h("td", { class: "function less" }, longText(view.function)),
    h("td", {}, h("span", { class: `pill ${stateOf(view)}` }, view.stale ? "no news" : statusWords(stateOf(view)))),
    h("td", { class: "number less" }, day(view.started)), h("td", { class: "number less" }, duration(view.seconds)),
    h("td", { class: "number" }, h("span", { class: "tiny", "aria-hidden": "true" }, h("span", { "data-width": percent })), `${count(view.done)} of ${count(view.size)}`),
    h("td", { class: "number" }, view.dead ? h("a", { href: runAddress(view.run, "failures"), class: "bad" }, count(view.dead)) : "0"),
    h("td", { class: "less" }, sparkline(pace ?? [], `how fast ${view.run} went over its time`)));
}
