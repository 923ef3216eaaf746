// The live stream, the pages, and what clicks do.

import { applyWidth, h, patch } from "./dom.js";
import { duration } from "./format.js";
import { choose, route } from "./route.js";
import { drawOverview, overview } from "./overview.js";
import { drawFleet, fleetTimeline } from "./timeline.js";
import { drawWorkers, turnWorkers, workers } from "./workers.js";
import { drawRuns, pickNone, pickRun, runs, sortRuns } from "./runs.js";
import { comparison, compareTitle, drawComparison, redrawComparison } from "./compare.js";
import { control, drawRun, runPage } from "./run.js";
import { retry } from "./failures.js";
import { chooseResults, redrawPicture, sortResults, turnResults } from "./results.js";

const SILENT_AFTER_SECONDS = 6;
const PAGES = {
  overview: { title: "Overview", build: overview, draw: drawOverview },
  runs: { title: "Runs", build: runs, draw: drawRuns },
  timeline: { title: "Timeline", build: fleetTimeline, draw: drawFleet },
  workers: { title: "Workers", build: workers, draw: drawWorkers },
  run: { title: "", build: runPage, draw: drawRun },
  compare: { title: "Compare", build: comparison, draw: drawComparison },
};

const OF_RUNS = ["run", "runs", "compare"];

const main = document.querySelector("#main");
const state = { view: null, heard: 0, get, route: route() };
let busy = false, source = null, listening = null;

async function get(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.json() : { error: await answer.text() };
  } catch {
    return null;
  }
}

// -- pages

async function show() {
  if (!state.view) return;
  state.route = route(state.view.runs[0]?.run);
  listen();
  state.page = state.kept?.of === state.route.run ? state.kept : null;  // what was last heard of a run stays when the dashboard ends
  if (!state.view.broker.watched && !OF_RUNS.includes(state.route.page)) state.route.page = "runs";
  const { page, run, tab } = state.route, { title, build, draw } = PAGES[page];
  const heading = page === "run" ? `Run ${run}` : page === "compare" ? compareTitle(state.route.runs) : title;
  const key = `${page}/${run}/${tab}`, named = ["run", "compare"].includes(page);
  patch(main, h("div", { class: "stack", "data-key": key, id: "page" },
    h("h1", { class: named ? "run-name" : "unseen" }, heading), build(state)));
  applyWidth(main);
  frame();
  if (!draw || busy) return;
  busy = true;
  try {
    if (await draw(main, state) === true) setTimeout(show);
  } finally {
    busy = false;
  }
}

function frame() {
  const { view, route: { page, run, tab } } = state;
  for (const link of document.querySelectorAll(".top .tabs a")) {
    const here = link.hash === `#${page}` || (["run", "compare"].includes(page) && link.hash === "#runs");
    link.hidden = !view.broker.watched && link.hash !== "#runs";
    if (here) link.setAttribute("aria-current", link.hash === `#${page}` ? "page" : "true"); else link.removeAttribute("aria-current");
  }
  const shown = view.runs.find((known) => (page === "run" ? known.run === run : known.status === "active"));
  const percent = shown?.status === "active" && Math.floor((100 * (shown.done + shown.dead)) / Math.max(1, shown.size));
  const name = page === "run" ? `${run} ${tab}` : PAGES[page].title;
  const title = percent !== false && percent !== undefined ? `${percent} % · ${shown.run} · TTG` : `${name} · TTG`;
  if (document.title !== title) document.title = title;
  judge();
}

// What is old is called old: the broker silent to the server, or the server silent to this page. Said once, not each second.
function judge() {
  const silent = (performance.now() - state.heard) / 1000, { view } = state, ended = Boolean(view?.farewell);
  const lost = !ended && silent > SILENT_AFTER_SECONDS, stale = !ended && (lost || Boolean(view?.broker.stale));
  const text = lost ? "No connection to the dashboard: what you see is old."
    : stale ? `Stale: the broker does not answer, what you see is old. ${view.broker.outage}` : "";
  tell("#banner", text.trim());
  tell("#note", view?.farewell || view?.note || "");
  document.body.classList.toggle("stale", stale && Boolean(view));
  const word = ended ? "ended" : lost ? `disconnected for ${duration(silent)}` : stale ? "stale"
    : !view ? "connecting" : !view.broker.watched ? "from folders" : view.note ? "ended" : view.broker.connected ? "live" : "connecting";
  const link = document.querySelector("#link");
  link.className = `link ${lost ? "lost" : stale ? "stale" : word === "live" ? "live" : "calm"}`;
  const shown = lost ? "disconnected" : word;
  if (link.textContent !== shown) link.textContent = shown;
  link.title = lost ? word : view?.broker.name || "";
}

function tell(place, text) {
  const box = document.querySelector(place);
  if (box.textContent !== text) box.textContent = text;
  if (box.hidden !== !text) box.hidden = !text;
}

// -- the stream: of one run, while its page is open; none while nobody looks

function listen() {
  const wanted = document.hidden || state.view?.farewell ? "" : `/api/stream?${new URLSearchParams({ run: state.route.run })}`;
  if (wanted === listening) return;
  source?.close();
  listening = wanted;
  if (!wanted) return;
  const { run } = state.route;
  source = new EventSource(wanted);
  source.onmessage = ({ data }) => {
    const news = JSON.parse(data);
    state.view = { ...state.view, ...news };
    if (!("heard_seconds" in news) && news.broker) state.view.heard_seconds = 0;
    if (news.page) state.kept = { of: run, ...news.page };
    state.heard = performance.now();
    if (news.farewell) source.close();
    show();
  };
  const opened = source;
  source.onerror = () => {
    if (opened.readyState === EventSource.CLOSED && opened === source) setTimeout(() => { listening = null; listen(); }, 2000);
  };
}

document.addEventListener("visibilitychange", () => { state.heard = performance.now(); listen(); });

// -- clicks and choices

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    return "This browser does not let the page copy: select the text instead.";
  }
}

function say(text) {
  const toast = document.querySelector("#toast");
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => toast.classList.remove("shown"), 5000);
}

document.addEventListener("click", async (event) => {
  const { target } = event;
  const skip = target.closest(".skip");
  if (skip) { event.preventDefault(); main.focus(); }
  const long = target.closest(".long");
  if (long) long.classList.toggle("whole");
  const button = target.closest("button");
  if (!button) return;
  const { sort, runs: by, rows, turn, retry: which, verb, copy, pickNone: none } = button.dataset;
  if (button.id === "theme") switchTheme();
  if (sort) sortResults(sort);
  if (by) sortRuns(by, state.route);
  if (none) pickNone();
  if (rows) turnResults(Number(rows));
  if (turn) turnWorkers(Number(turn));
  if (verb) {
    const said = await control(button.dataset);
    if (said !== null) say(said);
  }
  if (copy !== undefined) say(await copied(copy));
  if (which !== undefined && confirm(`${button.getAttribute("aria-label") || button.textContent} of run ${button.dataset.run}?`)) {
    button.disabled = true;
    say(await retry(button.dataset.run, which));
  }
  show();
});

document.addEventListener("keydown", (event) => {
  const long = event.target.closest?.(".long");
  if (!long || !["Enter", " "].includes(event.key)) return;
  event.preventDefault();
  long.classList.toggle("whole");
});

document.addEventListener("change", ({ target }) => {
  if (target.dataset.pick) pickRun(target.dataset.pick, target.checked, state.route);
  if (target.dataset.choose) chooseResults(target.dataset.choose, target.value);
  show();
});
document.addEventListener("toggle", ({ target }) => { if (target.id === "said") show(); }, true);
document.addEventListener("search", show);
document.addEventListener("input", ({ target }) => {
  if (target.id !== "find-run") return;
  choose({ find: target.value }, { quietly: true });
  show();
});

const showTab = () => {
  for (const tab of document.querySelectorAll(".tabs [aria-current]")) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
};

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches, root = document.documentElement;
  const theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  root.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  redraw();
}

function redraw() {
  redrawPicture(main);
  redrawComparison(main);
}

const remembered = localStorage.getItem("theme");
if (remembered) document.documentElement.dataset.theme = remembered;
let place = location.hash.split("?")[0];
window.addEventListener("hashchange", () => {
  const moved = location.hash.split("?")[0] !== place;
  place = location.hash.split("?")[0];
  show().then(showTab);
  if (moved) { main.focus({ preventScroll: true }); window.scrollTo(0, 0); }
});
window.addEventListener("popstate", () => show());
window.addEventListener("resize", () => { show(); redraw(); });
setInterval(judge, 1000);
state.heard = performance.now();
listen();
