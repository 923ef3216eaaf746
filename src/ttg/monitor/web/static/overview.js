// Runs, throughput, queues, faults: what one wants to know first.

import { h } from "./dom.js";
import { plot, timeTicks } from "./charts.js";
import { runAddress } from "./route.js";
import { clock, count, day, duration, plural, rate, span, statusWords } from "./format.js";

const QUEUE_TRACES = ["tasks", "tasks.retry", "tasks.dlq", "results"];

export function overview({ view }) {
  return [
    h("div", { class: "grid" },
      h("div", { class: "stack" }, runsCard(view), throughputCard(view), faultsCard(view)),
      h("div", { class: "stack" }, queuesCard(view), fleetCard(view))),
  ];
}

export function drawOverview(root, { view }) {
  const { began, bucket_seconds: step, rates } = view.throughput;
  const points = rates.map((value, place) => [began + place * step, value]);
  if (points.length) points.push([view.throughput.ended, rates.at(-1)]);
  plot(root.querySelector("#throughput"), {
    traces: [{ points, label: "settled", shape: "step", fill: true }], height: 210, unit: "/s", xTicks: timeTicks(began),
    label: `Throughput over time, at most ${rate(Math.max(0, ...rates))} parameters per second`,
  });
  const traces = QUEUE_TRACES.map((suffix, colour) => ({ colour, suffix, label: suffix, points: historyOf(view, suffix) }));
  const first = Math.min(...traces.flatMap(({ points }) => points.slice(0, 1).map(([at]) => at)));
  plot(root.querySelector("#depths"), {
    traces, height: 150, xTicks: timeTicks(first), label: "Messages in each queue over time",
  });
}

// Depths are sent where they changed: in between they stay, and so does the last one until now.
function historyOf(view, suffix) {
  const depth = (view.depths ?? []).find(({ name }) => name.endsWith(`.${suffix}`));
  if (!depth?.points.length) return [];
  const points = depth.points.map(([after, messages]) => [depth.began + after, messages]);
  return [...points, [Math.max(view.at, points.at(-1)[0]), points.at(-1)[1]]];
}

function runsCard(view) {
  const none = h("p", { class: "empty" }, "No run seen yet. Start one with ", h("code", {}, "ttg run"), ".");
  return h("section", { class: "card", "aria-label": "Runs" },
    view.runs.length ? view.runs.map((run) => runBlock(run)) : none,
    h("p", { class: "note more" }, h("a", { href: "#runs" }, view.runs_known > view.runs.length ? `all runs: these are the newest of ${count(view.runs_known)}` : "all runs")));
}

export function runBlock(run, { linked = true } = {}) {
  const settled = run.done + run.dead, share = run.size ? settled / run.size : 1;
  const gone = run.status === "abandoned";
  const status = run.stale && !gone ? "stale" : run.paused ? "paused" : run.status;
  const percent = Math.floor(share * 1000) / 10;
  const part = (figure, kind) => h("span", { class: kind, "data-width": run.size ? (100 * figure) / run.size : 0 });
  return h("article", { class: "run", "data-key": run.run },
    h("div", { class: "title" }, linked && h("strong", {}, h("a", { href: runAddress(run.run) }, run.run)), h("span", { class: "note" }, run.function),
      h("span", { class: `pill ${status}` }, gone ? `coordinator gone ${duration(run.silent_seconds)} ago: ttg resume goes on` : run.stale ? `no news for ${duration(run.silent_seconds)}` : statusWords(status)),
      h("span", { class: "percent" }, percent.toFixed(1), h("small", {}, "%"))),
    h("div", { class: "meter", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent,
      "aria-label": `${run.run}: ${count(settled)} of ${count(run.size)} parameters settled` },
    part(run.done, "done"), part(run.dead, "dead"), part(run.retrying, "retrying")),
    h("dl", { class: "figures" },
      figure("settled", `${count(settled)} of ${count(run.size)}`),
      figure("rate", `${rate(run.rate)}/s`),
      run.status === "active" ? figure("time left", run.paused ? "paused" : timeLeft(run))
        : figure("took", duration(run.seconds)),
      run.status === "active" && figure("running for", duration(run.seconds)),
      figure("chunks", count(run.chunks_settled)),
      figure("retrying", count(run.retrying), run.retrying && "warn"),
      figure("given up", count(run.dead), run.dead && "bad")),
    run.note && h("p", { class: "note" }, run.note),
    run.cause && (run.dead || run.retrying) > 0 && h("p", { class: "note" }, `Failing: ${run.cause}`));
}

function timeLeft({ eta_seconds: seconds, eta_least_seconds: least, eta_most_seconds: most }) {
  if (seconds === null) return "–";
  if (seconds < 1) return "a moment";
  const end = seconds < 60 ? "" : ` · ends about ${day(Date.now() / 1000 + seconds).replace("today ", "")}`;
  return span(seconds, least, most) + end;
}

function figure(name, value, kind) {
  return h("div", { class: kind || null }, h("dt", {}, name), h("dd", {}, value));
}

function throughputCard(view) {
  const { rates, bucket_seconds: step } = view.throughput;
  const peak = rates.length ? `peak ${rate(Math.max(...rates))}/s · ${plural(step, "second")} per step` : "";
  return card("Throughput", peak, h("div", { class: "chart", id: "throughput", "data-own": true }));
}

function queuesCard(view) {
  const rows = view.queues.map((queue) => h("tr", {}, h("td", {}, h("code", {}, queue.name)),
    [queue.messages, queue.consumers, queue.ready, queue.unacknowledged].map((figure) => h("td", { class: "number" }, count(figure)))));
  const head = ["messages", "consumers", "ready", "unacked"].map((name) => h("th", { class: "number", scope: "col" }, name));
  return card("Queues", view.broker.name,
    h("div", { class: "scroll" }, h("table", { "aria-label": "Queues" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "queue"), head)), h("tbody", {}, rows))),
    h("div", { class: "chart", id: "depths", "data-own": true }),
    h("div", { class: "legend" }, QUEUE_TRACES.map((name, colour) => h("span", { class: `l${colour}` }, name))));
}

function fleetCard(view) {
  const workers = Object.entries(view.workers_by_state), slots = view.slots_by_state;
  return card("Workers", h("a", { href: "#workers" }, "all workers"),
    workers.length ? h("p", { class: "controls" }, workers.map(([state, number]) => h("span", { class: `pill ${state}` }, `${count(number)} ${state}`)),
      h("span", { class: "note" }, `${count(slots.busy ?? 0)} of ${plural(Object.values(slots).reduce((sum, n) => sum + n, 0), "slot")} busy`))
      : h("p", { class: "empty" }, "No worker seen yet. Start one with ", h("code", {}, "ttg worker"), "."));
}

const faultsCard = (view) => card("What happened", "", faultLines(view.faults));

export function faultLines(faults) {
  const lines = faults.map((fault) => h("li", { class: fault.severity }, h("i", {}), h("time", {}, clock(fault.at)),
    h("span", {}, fault.text, fault.count > 1 && ` (× ${count(fault.count)})`)));
  return lines.length ? h("ul", { class: "faults", tabindex: 0, "aria-label": "Faults, newest first" }, lines)
    : h("p", { class: "empty" }, "Nothing out of the ordinary.");
}

export function card(title, note, ...body) {
  return h("section", { class: "card", "aria-label": title },
    h("header", {}, h("h2", {}, title), note && h("span", { class: "note" }, note)), body);
}
