// Workers × time on a canvas: one bar per chunk, or shades when there are too many; the server decides which.

import { h, patch } from "./dom.js";
import { timeTicks } from "./charts.js";
import { card } from "./overview.js";
import { choose } from "./route.js";
import { count, duration, plural } from "./format.js";

const LEFT = 128, TOP = 6, BOTTOM = 24, NARROW_LEFT = 74;
const RETRIED = 1, GIVEN_UP = 2, TAKEN_OVER = 4;
const FLEET_AGAIN_MS = 10000;
let drawn = null, selected = -1, answered = "", data = null;

export const fleetTimeline = (state) => timeline(state);

export function timeline({ route: { chosen } }) {
  const spans = [["", "whole run"], ["600", "last 10 min"], ["60", "last minute"]];
  return [card("Workers over time", "",
    h("div", { class: "controls" },
      h("label", {}, "show", h("select", { id: "span", "data-own": true },
        spans.map(([seconds, text]) => h("option", { value: seconds, selected: seconds === (chosen.seconds ?? "") }, text)))),
      h("label", {}, "worker", h("input", { id: "match", type: "search", placeholder: "name contains…", size: 16, value: chosen.match ?? "", "data-own": true }))),
    h("p", { class: "note", id: "lanes", "data-own": true }),
    h("div", { class: "chart", id: "lanes-chart", "data-own": true },
      h("canvas", { tabindex: 0, role: "img" }), h("div", { class: "tip", hidden: true, "aria-live": "polite" })),
    h("div", { class: "legend" }, h("span", { class: "fine" }, "chunk"), h("span", { class: "now" }, "being worked on"),
      h("span", { class: "taken" }, "taken over"), h("span", { class: "retried" }, "some to retry"),
      h("span", { class: "dead" }, "some given up"), h("span", { class: "killed" }, "worker lost")))];
}

export const drawFleet = (root, state) => draw(root, state, "/api/timeline",
  state.view.runs.some(({ status }) => status === "active") ? state.view.at : Math.floor(performance.now() / FLEET_AGAIN_MS));

export const drawTimeline = (root, state) => draw(root, state, `/api/runs/${encodeURIComponent(state.route.run)}/timeline`,
  state.page.view.status === "active" ? state.view.at : `${state.page.view.status} ${state.page.view.chunks_settled}`);

// Asked for again when something can have changed: `moment` says when that is.
async function draw(root, state, address, moment) {
  const seconds = root.querySelector("#span").value, match = root.querySelector("#match").value;
  choose({ seconds, match }, { quietly: true });
  const question = `${address}?${new URLSearchParams({ seconds: seconds || 0, match })}`, box = root.querySelector("#lanes-chart");
  if (`${question} ${moment}` !== answered || !data) {
    data = await state.get(question);
    answered = `${question} ${moment}`;
  }
  const words = root.querySelector("#lanes");
  if (!data || !box?.isConnected) return;
  if (data.error) { words.textContent = data.error; box.hidden = true; return; }
  const lost = data.marks.filter((mark) => mark.kind === "worker_lost").length;
  const lanes = data.lanes.reduce((sum, lane) => sum + lane.count, 0);
  const summary = `${plural(lanes, "slot")} over ${duration(data.ended - data.began)}`
    + (data.bars.length ? `, ${plural(data.bars.length, "chunk")}` : `, shaded by time busy, ${duration(data.bucket_seconds)} per step`)
    + (lost ? `, ${plural(lost, "worker")} lost` : "");
  box.hidden = !lanes;
  words.textContent = lanes ? summary : "No chunk settled yet.";
  if (lanes) paint(box, data, state.view, summary);
}

function paint(box, data, view, summary) {
  const canvas = box.querySelector("canvas"), width = box.clientWidth, left = width < 600 ? NARROW_LEFT : LEFT;
  const lane = Math.max(7, Math.min(34, Math.floor(620 / Math.max(1, data.lanes.length))));
  const height = TOP + BOTTOM + lane * Math.max(1, data.lanes.length), ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = `${height}px`;
  canvas.setAttribute("aria-label", `Timeline: ${summary}. Arrow keys step through chunks.`);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const x = (at) => left + ((at - data.began) / (data.ended - data.began)) * (width - left - 6);
  drawn = { data, x, lane, left, width, height, pen, colours: colours(), view };
  drawAxes(drawn);
  if (data.busy.length) drawShades(drawn); else drawBars(drawn);
  drawMarks(drawn);
  if (selected >= 0) outline(drawn, data.bars[selected]);
  listen(box, canvas);
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = { line: "--line", text: "--text", muted: "--muted", bar: "--bar", other: "--bar-2", taken: "--second", retried: "--amber", dead: "--red", sunken: "--sunken" };
  return Object.fromEntries(Object.entries(names).map(([key, name]) => [key, style.getPropertyValue(name).trim()]));
}

function drawAxes({ data, x, lane, left, width, height, pen, colours }) {
  pen.font = "11.5px system-ui, sans-serif";
  pen.textBaseline = "middle";
  const every = Math.ceil(15 / lane);
  data.lanes.forEach((row, place) => {
    const y = TOP + place * lane;
    pen.fillStyle = colours.sunken;
    pen.fillRect(left, y + 1, width - left - 6, lane - 2);
    if (place % every) return;
    pen.fillStyle = colours.muted;
    pen.fillText(fitted(pen, nameOf(row, data.lanes), left - 10), 0, y + lane / 2);
  });
  pen.textAlign = "center";
  for (const [at, text] of timeTicks(data.began)(data.began, data.ended, width - left)) {
    pen.fillStyle = colours.muted;
    pen.fillText(text, Math.min(Math.max(x(at), left + 10), width - 18), height - BOTTOM / 2 + 3);
  }
  pen.textAlign = "start";
}

function nameOf(row, lanes) {
  if (row.count > 1) return row.last === row.worker ? row.worker : `${row.worker} – ${row.last}`;
  const alone = lanes.every((lane) => lane.slot === 0);
  return alone ? row.worker : `${row.worker} · ${row.slot}`;
}

function fitted(pen, text, room) {
  let short = text;
  while (short.length > 4 && pen.measureText(short).width > room) short = `${short.slice(0, -2)}…`.replace("……", "…");
  return short;
}

function drawBars({ data, x, lane, pen, colours, view }) {
  const lastEnd = data.lanes.map(() => 0), drawnIn = data.lanes.map(() => 0);
  for (const [row, began, seconds, , , , mark] of data.bars) {
    const from = Math.max(x(began), x(data.began)), room = x(began + seconds) - from;
    const y = TOP + row * lane + 2, width = Math.max(1, room - (room > 3 ? 1 : 0));
    drawnIn[row] += 1;
    pen.fillStyle = mark & TAKEN_OVER ? colours.taken : drawnIn[row] % 2 ? colours.bar : colours.other;
    pen.fillRect(from, y, width, lane - 4);
    if (mark & (RETRIED | GIVEN_UP)) {
      pen.fillStyle = mark & GIVEN_UP ? colours.dead : colours.retried;
      pen.fillRect(from, y + (lane - 4) * 0.62, width, (lane - 4) * 0.38);
    }
    lastEnd[row] = Math.max(lastEnd[row], began + seconds);
  }
  drawPresent({ data, x, lane, pen, colours, view, lastEnd });
}

// What slots are busy with now, as outlines: from the end of their last bar, or since when they say.
function drawPresent({ data, x, lane, pen, colours, view, lastEnd }) {
  if (view.broker.stale) return;
  for (const [row, since] of data.present) {
    const from = x(Math.max(lastEnd[row], since, data.began)), to = x(data.ended);
    pen.strokeStyle = colours.bar;
    if (to - from > 2) pen.strokeRect(from + 0.5, TOP + row * lane + 2.5, to - from - 2, lane - 5);
  }
}

function drawShades({ data, x, lane, pen, colours }) {
  data.busy.forEach((cells, row) => cells.forEach((percent, place) => {
    const from = x(data.began + place * data.bucket_seconds), to = x(data.began + (place + 1) * data.bucket_seconds);
    pen.globalAlpha = percent / 100;
    pen.fillStyle = colours.bar;
    pen.fillRect(from, TOP + row * lane + 1, to - from + 0.3, lane - 2);
    pen.globalAlpha = 1;
    if (!data.trouble[row][place]) return;
    pen.fillStyle = colours.retried;
    pen.fillRect(from, TOP + (row + 1) * lane - 3, Math.max(1.5, to - from), 2);
  }));
}

function drawMarks({ data, x, lane, left, width, height, pen, colours }) {
  for (const mark of data.marks.filter(({ kind }) => kind === "worker_lost")) {
    if (mark.lane < 0) continue;
    const y = TOP + mark.lane * lane, from = Math.max(left, x(mark.began)), to = x(mark.at);
    pen.fillStyle = colours.dead;
    pen.globalAlpha = 0.25;
    pen.fillRect(from, y + 2, Math.max(3, to - from), lane - 4);
    pen.globalAlpha = 0.07;
    pen.fillRect(to, y + 2, Math.max(0, width - 6 - to), lane - 4);
    pen.globalAlpha = 1;
    cross(pen, from, y + lane / 2, Math.min(6, lane / 3), colours.dead);
  }
  pen.setLineDash([3, 4]);
  for (const mark of data.marks.filter(({ kind }) => kind === "fault_injected" || kind === "broker_trouble")) {
    pen.strokeStyle = colours.dead;
    pen.beginPath(); pen.moveTo(x(mark.at), TOP); pen.lineTo(x(mark.at), height - BOTTOM); pen.stroke();
  }
  pen.setLineDash([]);
}

function cross(pen, x, y, size, colour) {
  pen.strokeStyle = colour; pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x - size, y - size); pen.lineTo(x + size, y + size); pen.moveTo(x - size, y + size); pen.lineTo(x + size, y - size);
  pen.stroke(); pen.lineWidth = 1;
}

// -- reading it: pointer, or arrow keys

function listen(box, canvas) {
  const tip = box.querySelector(".tip");
  canvas.onpointermove = (event) => show(box, tip, at(event.offsetX, event.offsetY), event.offsetX, event.offsetY);
  canvas.onpointerleave = () => { tip.hidden = true; };
  canvas.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !drawn.data.bars.length) return;
    event.preventDefault();
    selected = Math.max(0, Math.min(drawn.data.bars.length - 1, selected + step));
    const bar = drawn.data.bars[selected];
    outline(drawn, bar);
    show(box, tip, barText(bar), drawn.x(bar[1]), TOP + bar[0] * drawn.lane);
  };
  canvas.onblur = () => { selected = -1; tip.hidden = true; };
}

function outline({ x, lane, pen, colours }, bar) {
  if (!bar) return;
  pen.strokeStyle = colours.text;
  pen.strokeRect(x(bar[1]) - 0.5, TOP + bar[0] * lane + 1.5, Math.max(3, x(bar[1] + bar[2]) - x(bar[1])), lane - 3);
}

function at(pointX, pointY) {
  const { data, x, lane, left, width } = drawn;
  const row = Math.floor((pointY - TOP) / lane);
  const time = data.began + ((pointX - left) / (width - left - 6)) * (data.ended - data.began);
  if (row < 0 || row >= data.lanes.length || time < data.began) return "";
  const mark = data.marks.find((candidate) => candidate.lane === row && Math.abs(x(candidate.began) - pointX) < 8);
  if (mark) return mark.text;
  const bar = data.bars.find(([lane, began, seconds]) => lane === row && began <= time && time <= began + seconds);
  if (bar) return barText(bar);
  const percent = data.busy[row]?.[Math.floor((time - data.began) / data.bucket_seconds)];
  return percent === undefined ? "" : `${nameOf(data.lanes[row], data.lanes)}: busy ${percent} % of the time`;
}

function barText([row, , seconds, done, failed, dead, mark, task]) {
  const parts = [`${nameOf(drawn.data.lanes[row], drawn.data.lanes)}: ${task}`, duration(seconds), `${count(done)} done`];
  if (failed) parts.push(`${count(failed)} to retry`);
  if (dead) parts.push(`${count(dead)} given up`);
  if (mark & TAKEN_OVER) parts.push("taken over");
  return parts.join(" · ");
}

function show(box, tip, text, x, y) {
  tip.hidden = !text;
  if (!text) return;
  patch(tip, document.createTextNode(text));
  tip.style.left = `${Math.max(0, Math.min(x + 12, box.clientWidth - tip.offsetWidth))}px`;
  tip.style.top = `${y + 16}px`;
}
