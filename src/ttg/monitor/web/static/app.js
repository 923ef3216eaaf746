// The live stream, the pages, and what clicks do.

import { applyWidth, h, patch } from "./dom.js";
import { count, duration } from "./format.js";
import { drawOverview, overview } from "./overview.js";
import { drawTimeline, timeline } from "./timeline.js";
import { drawWorkers, turnWorkers, workers } from "./workers.js";
import { failures, retry } from "./failures.js";
import { chooseResults, drawResults, redrawPicture, results, sortResults, turnResults } from "./results.js";

const SILENT_AFTER_SECONDS = 5;
const PAGES = {
  overview: { build: overview, draw: drawOverview },
  timeline: { build: timeline, draw: drawTimeline },
  workers: { build: workers, draw: drawWorkers },
  failures: { build: failures },
  results: { build: results, draw: drawResults },
};

const main = document.querySelector("#main");
const state = { view: null, heard: 0, get };
let busy = false;

async function get(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

// -- pages

const pageName = () => (location.hash.slice(1) in PAGES ? location.hash.slice(1) : "overview");

async function show() {
  if (!state.view) return;
  const { build, draw } = PAGES[pageName()];
  const page = h("div", { class: "stack", "data-key": pageName(), id: "page" }, build(state));
  patch(main, page);
  applyWidth(main);
  frame();
  if (!draw || busy) return;
  busy = true;
  const again = await draw(main, state);
  busy = false;
  if (again === true) show();
}

function frame() {
  const { view } = state;
  for (const tab of document.querySelectorAll(".tabs a")) {
    const here = tab.hash === `#${pageName()}`;
    if (here) tab.setAttribute("aria-current", "page"); else tab.removeAttribute("aria-current");
    if (tab.hash !== "#failures") continue;
    const badge = view.causes.length ? [h("span", { class: "badge", "aria-label": "causes" }, count(view.causes.length))] : [];
    patch(tab, document.createTextNode("Failures"), ...badge);
  }
  const running = view.runs.find((run) => run.status === "active");
  const percent = running && Math.floor((100 * (running.done + running.dead)) / Math.max(1, running.size));
  document.title = running ? `${percent} % · ${running.run} · TTG` : "TTG";
  judge();
}

// What is old is called old: the broker silent to the server, or the server silent to this page.
function judge() {
  const silent = (performance.now() - state.heard) / 1000, { view } = state;
  const lost = silent > SILENT_AFTER_SECONDS;
  const stale = lost || !view || view.stale;
  const text = lost ? `No connection to the dashboard for ${duration(silent)}. What you see is old.`
    : view?.stale ? `Stale: the broker has not answered ${view.heard_seconds ? `for ${duration(view.heard_seconds)}` : "yet"}. What you see is old. ${view.outage}` : "";
  const banner = document.querySelector("#banner"), link = document.querySelector("#link");
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
  document.body.classList.toggle("stale", stale && Boolean(view));
  link.className = `link ${lost ? "lost" : stale ? "stale" : "live"}`;
  const word = lost ? "disconnected" : stale ? "stale" : "live";
  if (link.textContent !== word) link.textContent = word;
}

// -- the stream

function listen() {
  const source = new EventSource("/api/stream");
  source.onmessage = ({ data }) => {
    state.view = { ...state.view, ...JSON.parse(data) };
    state.heard = performance.now();
    show();
  };
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000); };
}

// -- clicks and choices

function say(text) {
  const toast = document.querySelector("#toast");
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => toast.classList.remove("shown"), 5000);
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  const { sort, rows, turn, retry: cause } = button.dataset;
  if (button.id === "theme") switchTheme();
  if (sort) sortResults(sort);
  if (rows) turnResults(Number(rows));
  if (turn) turnWorkers(Number(turn));
  if (cause !== undefined) {
    button.disabled = true;
    say(await retry(button.dataset));
  }
  show();
});

document.addEventListener("change", ({ target }) => {
  if (target.dataset.choose) chooseResults({ [target.dataset.choose]: target.value });
  show();
});
document.addEventListener("search", show);

const showTab = () => document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches, root = document.documentElement;
  const theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  root.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  redrawPicture(main);
}

const remembered = localStorage.getItem("theme");
if (remembered) document.documentElement.dataset.theme = remembered;
window.addEventListener("hashchange", () => { show(); main.focus({ preventScroll: true }); showTab(); window.scrollTo(0, 0); });
window.addEventListener("resize", () => { show(); redrawPicture(main); });
setInterval(judge, 1000);
state.heard = performance.now();
listen();
