// Elements from data, and a patch that changes only what differs: focus, selection and open details survive.

const SVG = "http://www.w3.org/2000/svg";

// Escape sequences, control characters and marks that turn the direction of text: what users' functions said may hold them.
const UNSEEN = /\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  const there = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  node.append(...there.map((child) => (typeof child === "string" ? child.replace(UNSEEN, "") : child)));
  return node;
}

export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

// Text that may be long: one line that ends in an ellipsis, whole when it is clicked.
export const longText = (text) => (String(text).length > 24
  ? h("span", { class: "long", tabindex: 0, role: "button", title: "click to see all of it" }, text) : String(text));

export function patch(parent, ...wanted) {
  const fresh = wanted.flat(Infinity).filter(Boolean);
  const present = [...parent.childNodes];
  fresh.forEach((node, place) => {
    const old = present[place];
    if (!old) parent.append(node);
    else if (!alike(old, node)) old.replaceWith(node);
    else update(old, node);
  });
  present.slice(fresh.length).forEach((node) => node.remove());
}

// Nodes with a data-key are the same thing only if the keys agree; data-own marks what draws itself.
function alike(old, node) {
  return old.nodeName === node.nodeName && (old.dataset?.key ?? "") === (node.dataset?.key ?? "");
}

function update(old, node) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  if (node.dataset?.own !== undefined) return;
  for (const { name } of [...old.attributes]) {
    if (!node.hasAttribute(name) && name !== "open" && name !== "style") old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    if (name === "class" && old.classList.contains("whole")) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  applyWidth(old);
  patch(old, ...node.childNodes);
}

// The page's policy forbids style attributes; widths travel as data-width and are set here.
export function applyWidth(root) {
  const set = (node) => { node.style.width = `${node.dataset.width}%`; };
  if (root.dataset?.width !== undefined) set(root);
  root.querySelectorAll?.("[data-width]").forEach(set);
}
