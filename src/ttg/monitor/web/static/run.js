// The pages of one run: overview, timeline, failures, results.

import { h, longText } from "./dom.js";
import { plot, timeTicks } from "./charts.js";
import { card, faultLines, runBlock } from "./overview.js";
import { runAddress } from "./route.js";
import { count, day, plural, rate } from "./format.js";
import { drawTimeline, timeline } from "./timeline.js";
import { drawFailures, failures } from "./failures.js";
import { drawResults, results } from "./results.js";

const TAILS_AGAIN_MS = 5000;
const TABS = {
  overview: { build: overview, draw: drawOverview },
  timeline: { build: timeline, draw: drawTimeline },
  failures: { build: failures, draw: drawFailures },
  results: { build: results, draw: drawResults },
};

export function runPage(state) {
  const { route: { run, tab }, page, view } = state;
  if (!page) return [h("p", { class: "empty" }, view.farewell ? "This page was not open when the dashboard ended." : "Looking at the run …")];
  if (page.unknown) return [card("Not here", "", h("p", { class: "empty" }, page.unknown), h("p", {}, h("a", { href: "#runs" }, "All runs")))];
  const tabs = Object.keys(TABS).map((name) => h("a", { href: runAddress(run, name), "aria-current": name === tab ? "page" : null }, name[0].toUpperCase() + name.slice(1),
    name === "failures" && page.failing > 0 && h("span", { class: "badge", "aria-label": plural(page.failing, "cause") }, count(page.failing))));
  return [h("nav", { class: "tabs inner", "aria-label": `Pages of run ${run}` }, tabs), TABS[tab].build(state)];
}

export function drawRun(root, state) {
  if (!state.page || state.page.unknown) return false;
  return TABS[state.route.tab].draw(root, state);
}

function overview({ page }) {
  const { rates, bucket_seconds: step } = page.throughput;
  const peak = rates.length ? `peak ${rate(Math.max(...rates))}/s · ${plural(step, "second")} per step` : "";
  return h("div", { class: "grid" },
    h("div", { class: "stack" },
      h("section", { class: "card", "aria-label": "Progress" }, runBlock(page.view, { linked: false }),
        page.view.status === "active" && controls(page.view)),
      card("Throughput", peak, h("div", { class: "chart", id: "run-throughput", "data-own": true })),
      card("What happened", "", faultLines(page.faults))),
    h("div", { class: "stack" }, settings(page), said(page)));
}

// What workers said last; asked for when somebody wants to see it.
let tails = null;

function said({ view, folder }) {
  if (!folder) return null;
  const known = tails?.run === view.run ? tails.logs : null;
  return h("details", { class: "card", id: "said", "data-key": view.run }, h("summary", {}, "What the workers said last"),
    known?.length === 0 && h("p", { class: "empty" }, "No worker ran on this machine: others keep their logs where they run."),
    known?.map(({ worker, text }) => [h("h2", {}, worker), h("pre", { tabindex: 0 }, text || "nothing")]));
}

async function drawSaid(root, { get, page: { view, live } }) {
  const open = root.querySelector("#said")?.open;
  if (!open || (tails?.run === view.run && !live) || performance.now() - (tails?.at ?? -Infinity) < TAILS_AGAIN_MS) return false;
  const logs = await get(`/api/runs/${encodeURIComponent(view.run)}/logs`);
  if (!Array.isArray(logs)) return false;
  tails = { run: view.run, logs, at: performance.now() };
  return true;
}

function controls({ run, paused }) {
  const verb = paused ? "unpause" : "pause";
  return h("p", { class: "controls more" },
    h("button", { type: "button", "data-verb": verb, "data-run": run, "data-key": verb }, paused ? "Go on with the run" : "Pause the run"),
    h("button", { type: "button", "data-verb": "cancel", "data-run": run }, "Cancel the run"));
}

// What is asked before each of them; each names the run.
const QUESTIONS = {
  cancel: (run) => `Cancel run ${run}? What is settled stays; ttg resume can go on with it.`,
  pause: (run) => `Pause run ${run}? Nothing more is begun; what is being executed is finished.`,
  unpause: (run) => `Go on with run ${run}?`,
  drain: (run, worker) => `Let worker ${worker} of run ${run} leave? It settles what it has done, and gives the rest to the others.`,
};

export async function control({ verb, run, worker = "" }) {
  if (!confirm(QUESTIONS[verb](run, worker))) return null;
  const answer = await fetch(`/api/runs/${encodeURIComponent(run)}/${verb}?${new URLSearchParams({ worker })}`, { method: "POST" });
  return answer.ok ? (await answer.json()).said : await answer.text();
}

function settings({ view, facts, live }) {
  const all = [["function", view.function], ["started", day(view.started)], ...facts];
  return card("Settings", live ? "" : "from its folder",
    h("dl", { class: "facts" }, all.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, longText(value))))));
}

function drawOverview(root, state) {
  const { page } = state;
  const { began, bucket_seconds: step, rates, ended } = page.throughput;
  const points = rates.map((value, place) => [began + place * step, value]);
  if (points.length) points.push([ended, rates.at(-1)]);
  plot(root.querySelector("#run-throughput"), {
    traces: [{ points, label: "settled", shape: "step", fill: true }], height: 210, unit: "/s", xTicks: timeTicks(began),
    label: `Throughput over time, at most ${rate(Math.max(0, ...rates))} parameters per second`,
  });
  return drawSaid(root, state);
}
