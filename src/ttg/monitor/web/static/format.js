// Figures as people read them; the same words as in the terminal.

export const count = (figure) => (figure === null || figure === undefined ? "–" : figure.toLocaleString("en-US"));

export function rate(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return value >= 10 || value === 0 ? value.toFixed(1) : value.toFixed(2);
}

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (figure) => String(figure).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** A time left, or between which it most likely is: `7 to 9 min`. */
export function span(seconds, least, most) {
  if (least === null || most === null || most - least <= Math.max(1, 0.2 * seconds)) return duration(seconds);
  const [unit, length] = [["d", 86400], ["h", 3600], ["min", 60]].find((pair) => most >= 2 * pair[1]) || ["s", 1];
  const [low, high] = [least / length, most / length].map((value) => value.toFixed(value < 10 && length >= 3600 ? 1 : 0));
  return low === high ? duration(seconds) : `${low} to ${high} ${unit}`;
}

export function bytes(figure) {
  if (!figure) return "–";
  return figure < 1e9 ? `${Math.round(figure / 1e6)} MB` : `${(figure / 1e9).toFixed(1)} GB`;
}

export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

export function day(at) {
  const moment = new Date(at * 1000), today = new Date().toDateString() === moment.toDateString();
  const time = moment.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return today ? `today ${time}` : `${moment.toLocaleDateString("en-CA")} ${time}`;
}

export const statusWords = (status) => (status === "finished_with_dead_letters" ? "finished, some given up" : status.replaceAll("_", " "));

export const plural = (figure, noun) => `${count(figure)} ${noun}${figure === 1 ? "" : "s"}`;

export const words = (name) => name.replaceAll("_", " ");

export function short(value) {
  if (value === null || value === undefined) return "–";
  if (value === "nan" || value === "inf" || value === "-inf") return { nan: "NaN", inf: "∞", "-inf": "−∞" }[value];
  if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  return Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}
