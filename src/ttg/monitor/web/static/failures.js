// What failed in a run, by cause, from its ledger: how many parameters and attempts, which ones, and what became of them.

import { h, longText } from "./dom.js";
import { card } from "./overview.js";
import { clock, count, plural } from "./format.js";

const WORDS = { "given up": "lost", mended: "finished", retrying: "active", open: "warning" };
let found = null, answered = "";

export function failures({ page, route: { run } }) {
  if (!found || found.run !== run) return [card("Failures", "", h("p", { class: "empty" }, "Looking at the ledger …"))];
  if (!found.causes.length) return [card("Failures", "", h("p", { class: "empty" }, found.error || "No parameter has failed."))];
  const active = page.view.status === "active", dead = found.causes.reduce((sum, cause) => sum + cause.dead, 0);
  return [found.causes.filter((cause) => cause.dead).length > 1 && h("p", { class: "controls" },
    retryButton(run, {}, `Retry all ${plural(dead, "parameter")}`, { class: "primary", disabled: active })),
  found.causes.map((cause, place) => causeCard(cause, place, run, active))];
}

// Looked at again when the run's figures say that something has failed, or was mended, since.
export async function drawFailures(root, { get, page, route: { run } }) {
  const { status, dead, retrying, done } = page.view;
  const moment = [run, status, dead, retrying, status === "active" && dead + retrying ? done : 0, page.failing].join(" ");
  if (moment === answered) return false;
  answered = moment;
  const fresh = await get(`/api/runs/${encodeURIComponent(run)}/failures`);
  if (!fresh) return false;
  found = fresh.error ? { run, causes: [], error: fresh.error } : { run, causes: fresh };
  return true;
}

const retryButton = (run, which, text, attributes) => h("button", { type: "button", "data-run": run, "data-retry": JSON.stringify(which), ...attributes }, text);

function causeCard(cause, place, run, active) {
  const key = [run, cause.kind, cause.error, cause.place].join("|");
  const advice = active ? "The run goes on" : cause.dead ? `Retry ${plural(cause.dead, "parameter")}` : "Nothing given up";
  return h("section", { class: "card cause", "data-key": key, "aria-label": `${cause.error} at ${cause.place}` },
    h("div", { class: "title" }, h("h2", {}, `${cause.error}: ${cause.message}`), h("span", { class: `pill ${WORDS[cause.state]}` }, cause.state),
      retryButton(run, { error: cause.error, place: cause.place }, advice, { class: "primary", disabled: active || !cause.dead })),
    h("p", {}, h("strong", {}, figures(cause)), " ", h("code", {}, cause.place)),
    h("p", { class: "note" }, `${cause.kind} · ${clock(cause.first)} to ${clock(cause.last)}`),
    cause.rows.length > 0 && parameters(cause, run, active),
    cause.traceback && h("details", { open: place === 0 }, h("summary", {}, `Traceback of index ${count(cause.index)}`), h("pre", { tabindex: 0 }, cause.traceback)),
    cause.output && h("details", {}, h("summary", {}, `What index ${count(cause.index)} printed`), h("pre", { tabindex: 0 }, cause.output)));
}

// `36 parameters, 108 attempts`
function figures({ dead, mended, attempts }) {
  const parameters = dead + mended;
  return [parameters > 0 && plural(parameters, "parameter"), plural(attempts, "attempt"), mended > 0 && `${count(mended)} mended since`].filter(Boolean).join(", ");
}

function parameters({ rows, dead }, run, active) {
  const head = [["index", "number"], ["values"], ["attempts", "number"], ["worker", "less"], ["last said"], ["again"]];
  const more = dead > rows.length ? `the first ${count(rows.length)} of ${count(dead)}: ttg failed ${run} lists all` : "";
  return h("details", {}, h("summary", {}, `Which ${dead === 1 ? "parameter" : "parameters"}`),
    h("div", { class: "scroll" }, h("table", { "aria-label": "Parameters given up" },
      h("thead", {}, h("tr", {}, head.map(([name, kind]) => h("th", { scope: "col", class: kind }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, h("td", { class: "number" }, count(row.index)), h("td", {}, longText(row.parameters)),
        h("td", { class: "number" }, count(row.attempts)), h("td", { class: "less" }, row.worker), h("td", {}, longText(row.said)),
        h("td", {}, retryButton(run, { index: row.index }, "Retry", { disabled: active, "aria-label": `Retry index ${row.index}` }))))))),
    more && h("p", { class: "note" }, more));
}

export async function retry(run, which) {
  const answer = await fetch(`/api/runs/${encodeURIComponent(run)}/retry`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: which,
  });
  if (!answer.ok) return await answer.text();
  const { retried } = await answer.json();
  answered = "";
  return `${plural(retried, "parameter")} submitted again`;
}
