// Keys, and the list of them for the help.

/** [keys as shown, what they do, match(event), action name]. Letters are those of 3D Slicer's nnInteractive module. */
const plain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;
const letter = (key) => (event) => plain(event) && event.key.toLowerCase() === key;
const control = (event) => event.ctrlKey || event.metaKey;

export const KEYS = [
  ["P", "Point", letter("p"), "point"],
  ["B", "Box", letter("b"), "box"],
  ["S", "Scribble", letter("s"), "scribble"],
  ["D", "Brush (draw)", letter("d"), "brush"],
  ["X", "Eraser", letter("x"), "eraser"],
  ["M", "Move the image", letter("m"), "hand"],
  ["T", "Positive or negative prompts", letter("t"), "sign"],
  ["E", "Next structure, or a new one after the last", letter("e"), "next"],
  ["A", "Add a structure", letter("a"), "add"],
  ["1 … 9", "Choose a structure", (e) => plain(e) && /^[1-9]$/.test(e.key), "choose"],
  ["R", "Reset: take away mask and prompts on this slice", letter("r"), "reset"],
  ["Backspace", "Take the last click away", (e) => plain(e) && e.key === "Backspace", "unclick"],
  ["Del", "Delete the structure, with its masks", (e) => plain(e) && e.key === "Delete", "delete"],
  ["V", "Show or hide masks and prompts", letter("v"), "visibility"],
  ["O", "Outlines", letter("o"), "outlines"],
  ["H", "Preview of a click under the pointer", letter("h"), "preview"],
  ["Ctrl+Z", "Undo", (e) => control(e) && !e.shiftKey && e.key.toLowerCase() === "z", "undo"],
  [
    "Ctrl+Shift+Z, Ctrl+Y",
    "Redo",
    (e) => control(e) && ((e.shiftKey && e.key.toLowerCase() === "z") || e.key.toLowerCase() === "y"),
    "redo",
  ],
  [
    "Shift+arrows, Enter",
    "Move a cursor over the image, click there (Ctrl+Enter: beside the structure)",
    (e) => (e.shiftKey && /^Arrow/.test(e.key)) || (e.key === "Enter" && e.target.matches("canvas")),
    "cursor",
  ],
  [
    "↑ ↓, PgUp PgDn",
    "Other slice, or ten on",
    (e) => plain(e) && !e.shiftKey && /^(ArrowUp|ArrowDown|PageUp|PageDown)$/.test(e.key),
    "slice",
  ],
  [". ,", "Propagate to higher or lower slices", (e) => plain(e) && (e.key === "." || e.key === ","), "propagate"],
  ["Esc", "Stop propagating, drop what is begun", (e) => e.key === "Escape", "escape"],
  ["C", "Other plane, or all three", letter("c"), "plane"],
  ["F", "Fit the image into the view", letter("f"), "fit"],
  ["+ −", "Zoom", (e) => plain(e) && ["+", "=", "-"].includes(e.key), "zoom"],
  ["[ ]", "Brush size", (e) => plain(e) && (e.key === "[" || e.key === "]"), "brush-size"],
  ["N, Shift+N", "Next or previous case", letter("n"), "case"],
  ["Ctrl+S", "Save a file in the chosen format", (e) => control(e) && e.key.toLowerCase() === "s", "export"],
  ["?", "This list", (e) => e.key === "?", "help"],
];

/** Calls `act(name, event)` for keys that no field of the page needs itself. */
export function listenToKeys(act) {
  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const { target } = event;
    const field = target.matches?.("input:not([type=checkbox]):not([type=range]), select, textarea, [contenteditable]");
    if (field && event.key !== "Escape") return;
    if (target.matches?.("input[type=range], [role=radio]") && /^(Arrow|Page)/.test(event.key)) return;
    const known = KEYS.find(([, , match]) => match(event));
    if (!known) return;
    if (act(known[3], event) !== false) event.preventDefault();
  });
}

/** Fills the help. */
export function describeKeys(element) {
  for (const [keys, text] of KEYS) {
    const [name, meaning] = [document.createElement("kbd"), document.createElement("span")];
    name.textContent = keys;
    meaning.textContent = text;
    element.append(name, meaning);
  }
}
