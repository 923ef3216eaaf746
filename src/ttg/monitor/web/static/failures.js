// Failures grouped by cause, each with a traceback and a way to try the given-up parameters again.

import { h } from "./dom.js";
import { card } from "./overview.js";
import { clock, count, plural } from "./format.js";

export function failures({ view }) {
  if (!view.causes.length) return [card("Failures", "", h("p", { class: "empty" }, "No parameter has failed."))];
  const left = view.causes_left_out;
  const active = new Set(view.runs.filter(({ status }) => status === "active").map(({ run }) => run));
  const shown = (cause, place) => causeCard(cause, place, active.has(cause.run));
  return [...view.causes.map(shown), left > 0 && h("p", { class: "note" }, `${plural(left, "failure")} of further causes not listed.`)];
}

function causeCard(cause, place, active) {
  const key = [cause.run, cause.kind, cause.error, cause.place].join("|");
  return h("section", { class: "card cause", "data-key": key, "aria-label": `${cause.error} at ${cause.place}` },
    h("div", { class: "title" }, h("span", { class: "times" }, `${count(cause.count)} ×`), h("h2", {}, `${cause.error}: ${cause.message}`),
      h("code", {}, cause.place),
      h("button", { type: "button", class: "primary", disabled: !cause.dead, "data-retry": place,
        "data-run": cause.run, "data-kind": cause.kind, "data-error": cause.error, "data-place": cause.place },
      cause.dead ? `Retry ${plural(cause.dead, "dead letter")}` : "Nothing given up")),
    h("p", { class: "note" }, `run ${cause.run} · ${cause.kind} · ${clock(cause.first)} to ${clock(cause.last)} · `,
      cause.dead ? h("span", { class: "pill lost" }, `${count(cause.dead)} given up`) : active ? "being tried again" : "none given up"),
    cause.traceback && h("details", { open: place === 0 }, h("summary", {}, `Traceback of index ${count(cause.index)}`), h("pre", { tabindex: 0 }, cause.traceback)),
    cause.output && h("details", {}, h("summary", {}, `What index ${count(cause.index)} printed`), h("pre", { tabindex: 0 }, cause.output)));
}

export async function retry({ run, kind, error, place }) {
  const answer = await fetch(`/api/runs/${encodeURIComponent(run)}/retry`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ kind, error, place }),
  });
  if (!answer.ok) return await answer.text();
  const { retried } = await answer.json();
  return `${plural(retried, "parameter")} submitted again`;
}
