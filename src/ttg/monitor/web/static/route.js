// Where the page is: its name, the run, its tab, and what was chosen there. All of it is in the address.

const TABS = ["overview", "timeline", "failures", "results"];
const PAGES = ["overview", "runs", "timeline", "workers"];
const LIST = ",";

// `#run/ID/results?value=price&sort=index`; an address of before (`#results`) means the newest run.
export function route(newest = "") {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const chosen = Object.fromEntries(new URLSearchParams(query)), [first, list = ""] = path.split("/");
  if (first === "compare") return { page: "compare", run: "", tab: "", runs: listed(list), chosen };
  const [page, run = "", tab = ""] = path.split("/").map(decoded);
  if (page === "run" && run) return { page: "run", run, tab: TABS.includes(tab) ? tab : "overview", chosen };
  if (["failures", "results"].includes(page) && newest) return { page: "run", run: newest, tab: page, chosen };
  return { page: PAGES.includes(page) ? page : "overview", run: "", tab: "", chosen };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Several ids in one word of an address, whatever is in them.
export const listed = (text) => text.split(LIST).filter(Boolean).map(decoded);
export const asList = (runs) => runs.map(encodeURIComponent).join(LIST);

export const compareAddress = (runs) => `#compare/${asList(runs)}`;
export const runAddress = (run, tab = "overview") => `#run/${encodeURIComponent(run)}/${tab}`;

// Choices that differ from what is usual; `quietly` when each keystroke would be a step back.
export function choose(changes, { quietly = false } = {}) {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const chosen = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined) chosen.delete(name); else chosen.set(name, value);
  }
  const address = `#${path || "overview"}${chosen.size ? `?${chosen}` : ""}`;
  if (address === location.hash) return;
  history[quietly ? "replaceState" : "pushState"](null, "", address);
}
