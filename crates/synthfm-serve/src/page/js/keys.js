// Keys, and the list of them for the help. Letters of the tools are those of 3D Slicer's nnInteractive module.

import { keyNames, t } from "./texts.js";

const plain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;
const letter = (key) => (event) => plain(event) && event.key.toLowerCase() === key;
const control = (event) => event.ctrlKey || event.metaKey;

const shifted = (event) => event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey;

/** [keys as shown, match(event), action]; what an action does is the text `key.ACTION`. */
export const KEYS = [
  ["Y", letter("y"), "done"],
  ["N, Shift+N", letter("n"), "case"],
  ["K", letter("k"), "skip"],
  ["P", letter("p"), "point"],
  ["B", letter("b"), "box"],
  ["S", letter("s"), "scribble"],
  ["D", letter("d"), "brush"],
  ["X", letter("x"), "eraser"],
  ["L", letter("l"), "ruler"],
  ["M", letter("m"), "hand"],
  ["T", letter("t"), "sign"],
  ["E", letter("e"), "next"],
  ["A", letter("a"), "add"],
  ["1 … 9", (e) => plain(e) && /^[1-9]$/.test(e.key), "choose"],
  ["R", letter("r"), "reset"],
  ["Backspace", (e) => plain(e) && e.key === "Backspace", "unclick"],
  ["Del", (e) => plain(e) && e.key === "Delete", "delete"],
  ["V", letter("v"), "visibility"],
  ["O", letter("o"), "outlines"],
  ["H", letter("h"), "preview"],
  ["Z", letter("z"), "magnifier"],
  ["Ctrl+Z", (e) => control(e) && !e.shiftKey && e.key.toLowerCase() === "z", "undo"],
  [
    "Ctrl+Shift+Z, Ctrl+Y",
    (e) => control(e) && ((e.shiftKey && e.key.toLowerCase() === "z") || e.key.toLowerCase() === "y"),
    "redo",
  ],
  [
    "Shift+arrows, Enter",
    (e) => (e.shiftKey && /^Arrow/.test(e.key)) || (e.key === "Enter" && e.target.matches("canvas")),
    "cursor",
  ],
  [
    "↑ ↓, PgUp PgDn",
    (e) => plain(e) && !e.shiftKey && /^(ArrowUp|ArrowDown|PageUp|PageDown)$/.test(e.key),
    "slice",
  ],
  [". ,", (e) => plain(e) && (e.key === "." || e.key === ","), "propagate"],
  ["I", letter("i"), "interpolate"],
  ["G, Shift+G", letter("g"), "copy"],
  ["Shift+PgUp PgDn", (e) => shifted(e) && /^Page(Up|Down)$/.test(e.key), "clear"],
  ["U", letter("u"), "surface"],
  ["Esc", (e) => e.key === "Escape", "escape"],
  ["C", letter("c"), "plane"],
  ["F", letter("f"), "fit"],
  ["+ −", (e) => plain(e) && ["+", "=", "-"].includes(e.key), "zoom"],
  ["[ ]", (e) => plain(e) && (e.key === "[" || e.key === "]"), "brush-size"],
  ["Ctrl+S", (e) => control(e) && e.key.toLowerCase() === "s", "export"],
  ["?", (e) => e.key === "?", "help"],
];

/** Calls `act(name, event)` for keys that no field of the page needs itself. */
export function listenToKeys(act) {
  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    // A letter that is held down must not rush through the cases.
    if (event.repeat && /^[a-z]$/i.test(event.key)) return;
    const { target } = event;
    const field = target.matches?.("input:not([type=checkbox]):not([type=range]), select, textarea, [contenteditable]");
    if (field && event.key !== "Escape") return;
    if (target.matches?.("input[type=range], [role=radio]") && /^(Arrow|Page)/.test(event.key)) return;
    const known = KEYS.find(([, match]) => match(event));
    if (!known) return;
    if (act(known[2], event) !== false) event.preventDefault();
  });
}

/** Fills the help. */
export function describeKeys(element) {
  for (const [keys, , action] of KEYS) {
    const [name, meaning] = [document.createElement("kbd"), document.createElement("span")];
    name.textContent = keyNames(keys);
    meaning.textContent = t(`key.${action}`);
    element.append(name, meaning);
  }
}
