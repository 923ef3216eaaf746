// Every worker: where it runs, how it is, what it does now.

import { h } from "./dom.js";
import { card } from "./overview.js";
import { bytes, count, duration, rate } from "./format.js";

const PAGE = 100, AGAIN_AFTER_MS = 2000;
const choice = { match: "", offset: 0 };
let asked = -Infinity;
let page = { total: 0, workers: [] };

export function workers({ view }) {
  const { total } = page, from = choice.offset + 1, to = Math.min(total, choice.offset + PAGE);
  return [card("Workers", total ? `${count(from)} to ${count(to)} of ${count(total)}` : "",
    h("div", { class: "controls" },
      h("label", {}, "worker", h("input", { id: "find", type: "search", placeholder: "name contains…", size: 18, value: choice.match, "data-own": true })),
      total > PAGE && h("span", { class: "controls" },
        h("button", { type: "button", "data-turn": -1, disabled: choice.offset === 0 }, "← previous"),
        h("button", { type: "button", "data-turn": 1, disabled: to >= total }, "next →"))),
    page.workers.length ? table(page.workers, view.runs.filter(({ status }) => status === "active").map(({ run }) => run)) : h("p", { class: "empty" }, "No worker to show."))];
}

export async function drawWorkers(root, state) {
  if (performance.now() - asked < AGAIN_AFTER_MS && root.querySelector("#find").value === choice.match && page.offset === choice.offset) return false;
  asked = performance.now();
  const match = root.querySelector("#find").value;
  if (match !== choice.match) Object.assign(choice, { match, offset: 0 });
  const fresh = await state.get(`/api/workers?${new URLSearchParams(choice)}`);
  const changed = fresh && JSON.stringify({ ...fresh, offset: choice.offset }) !== JSON.stringify(page);
  if (fresh) page = { ...fresh, offset: choice.offset };
  return changed;
}

export function turnWorkers(step) {
  choice.offset = Math.max(0, choice.offset + step * PAGE);
}

// A worker is told through a run: the one that it works on, or else the newest that goes on.
function leave({ worker, state, slots }, goingOn) {
  const run = slots.find((slot) => slot.run && goingOn.includes(slot.run))?.run ?? goingOn[0];
  return h("button", { type: "button", "data-verb": "drain", "data-run": run, "data-worker": worker, "aria-label": `Drain ${worker}`, disabled: !run || state !== "alive" }, "Drain");
}

function table(rows, goingOn) {
  const names = [["worker"], ["host", "less"], ["state"], ["working on"], ["rate", "number"], ["done", "number"], ["chunks", "number less"], ["memory", "number"], ["leave"]];
  return h("div", { class: "scroll" }, h("table", { "aria-label": "Workers" },
    h("thead", {}, h("tr", {}, names.map(([name, kind]) => h("th", { scope: "col", class: kind }, name)))),
    h("tbody", {}, rows.map((worker) => row(worker, goingOn)))));
}

function row(worker, goingOn) {
  const alive = worker.state === "alive";
  return h("tr", { "data-key": worker.worker }, h("td", {}, h("strong", {}, worker.worker)), h("td", { class: "less" }, worker.host),
    h("td", {}, h("span", { class: `pill ${worker.state}` }, worker.state)),
    h("td", {}, alive || worker.state === "stopped" ? worker.slots.map(occupation) : `last heard ${duration(worker.heard_seconds)} ago`),
    h("td", { class: "number" }, alive ? `${rate(worker.rate)}/s` : "–"), h("td", { class: "number" }, count(worker.done)),
    h("td", { class: "number less" }, count(worker.tasks)), h("td", { class: "number" }, bytes(worker.memory_bytes)), h("td", {}, leave(worker, goingOn)));
}

function occupation(slot) {
  if (slot.state !== "busy") return h("div", { class: "note" }, slot.state);
  const percent = slot.total ? Math.min(100, (100 * slot.done) / slot.total) : 0;
  return h("div", {}, h("span", { class: "tiny" }, h("span", { "data-width": percent })), slot.task);
}
