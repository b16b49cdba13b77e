// The panels beside the image: cases, structures, display, export.

import { TOOLS } from "./tools.js";

const STATES = { new: ["○", "new"], started: ["◐", "started"], done: ["●", "done"] };

export function byId(id) {
  return document.getElementById(id);
}

/** An element with properties, children and listeners (`onclick`, ...). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.startsWith("aria-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** The list of cases. */
export function showCases(cases, current, filter, open) {
  const wanted = filter.trim().toLowerCase();
  const shown = cases.filter(({ name }) => name.toLowerCase().includes(wanted));
  const done = cases.filter(({ state }) => state === "done").length;
  byId("case-count").textContent = cases.length ? `${done} of ${cases.length} done` : "";
  byId("case-list").replaceChildren(...shown.slice(0, 1000).map((item) => caseItem(item, item.id === current, open)));
}

function caseItem({ id, name, state, uploaded }, current, open) {
  const [sign, word] = STATES[state] ?? STATES.new;
  const at = name.lastIndexOf("/");
  const folder = at >= 0 ? make("small", { textContent: name.slice(0, at + 1) }) : "";
  const button = make(
    "button",
    { onclick: () => open(id), title: name, dataset: { case: id } },
    make("span", { className: `state ${state}`, textContent: sign, title: word, role: "img", "aria-label": word }),
    make("span", { className: "case-title" }, folder, name.slice(at + 1)),
    uploaded ? make("small", { textContent: "upload" }) : "",
  );
  if (current) button.setAttribute("aria-current", "true");
  return make("li", {}, button);
}

/** The list of structures; `on` has select, rename, recolour, hide, remove. */
export function showStructures(study, on) {
  const list = byId("structures");
  // A name that is being typed stays.
  if (list.contains(document.activeElement) && document.activeElement.matches("input[type=text]")) return;
  const focused = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
  list.replaceChildren(...study.structures.map((structure, n) => structureItem(study, structure, n, on)));
  if (focused) list.querySelector(`li[data-id="${focused}"] .structure-name`)?.focus();
}

function structureItem(study, structure, n, on) {
  const { id, name, colour, voxels } = structure;
  const hidden = study.hidden.has(id);
  const score = study.scores.get(id)?.dice;
  const size = voxels ? `${voxels.toLocaleString("en")} ${study.details.picture ? "px" : "voxels"}` : "empty";
  const scored = voxels && typeof score === "number" ? make("small", { textContent: `DSC ${score.toFixed(3)}` }) : "";
  const item = make(
    "li",
    { dataset: { id } },
    make("input", {
      type: "color",
      value: colour,
      title: "Colour",
      "aria-label": `Colour of ${name}`,
      onchange: (event) => on.recolour(id, event.target.value),
    }),
    make(
      "button",
      {
        className: "structure-name",
        onclick: () => on.select(id),
        ondblclick: () => rename(item, structure, on),
        title: `${name}${n < 9 ? ` (${n + 1})` : ""}; double click renames`,
      },
      make("span", { textContent: name }),
      make("small", { textContent: size }),
      scored,
    ),
    make("button", {
      className: "icon rename",
      textContent: "✎",
      title: "Rename",
      "aria-label": `Rename ${name}`,
      onclick: () => rename(item, structure, on),
    }),
    make("button", {
      className: "icon",
      textContent: hidden ? "◌" : "◉",
      title: hidden ? "Show" : "Hide",
      "aria-label": `${hidden ? "Show" : "Hide"} ${name}`,
      onclick: () => on.hide(id),
    }),
    make("button", {
      className: "icon",
      textContent: "✕",
      title: "Delete (Del)",
      "aria-label": `Delete ${name}`,
      onclick: () => on.remove(id),
    }),
  );
  if (id === study.current) item.setAttribute("aria-current", "true");
  item.style.setProperty("--colour", colour);
  return item;
}

function rename(item, { id, name }, on) {
  const field = make("input", { type: "text", value: name, maxLength: 64, "aria-label": "Name" });
  let over = false;
  const finish = (keep) => {
    if (over) return;
    over = true;
    const text = field.value.trim();
    field.blur();
    on.rename(id, keep && text && text !== name ? text : null);
  };
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Enter") finish(true);
    if (event.key === "Escape") finish(false);
  });
  field.addEventListener("blur", () => finish(true));
  item.querySelector(".structure-name").replaceWith(field);
  field.focus();
  field.select();
}

/** A group of radio buttons made of `items` ({ id, name, title }). */
export function radios(element, items, chosen, choose) {
  const pick = (id) => {
    choose(id);
    element.querySelector(`[data-choice="${id}"]`)?.focus();
  };
  element.replaceChildren(
    ...items.map(({ id, name, title }, n) => {
      const on = id === chosen;
      const button = make("button", {
        textContent: name,
        title,
        dataset: { choice: id },
        role: "radio",
        "aria-checked": String(on),
        tabIndex: on ? 0 : -1,
        onclick: () => choose(id),
      });
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (step) {
          event.preventDefault();
          pick(items[(n + step + items.length) % items.length].id);
        }
      });
      return button;
    }),
  );
}

/** The tools, with the sign of prompts and the size of the brush. */
export function showTools(settings, choose) {
  const items = TOOLS.map(({ id, name, key, hint }) => ({ id, name, title: `${hint} (${key})` }));
  radios(byId("tools"), items, settings.tool, choose);
  const sign = byId("sign");
  sign.textContent = settings.positive ? "+ inside" : "− outside";
  sign.setAttribute("aria-pressed", String(settings.positive));
  sign.classList.toggle("negative", !settings.positive);
  byId("brush-size").hidden = !["brush", "eraser"].includes(settings.tool);
  byId("brush").value = settings.brush;
}

/** Windows by name; the first is that of the image. */
export function fillPresets(windows, details) {
  const options = [new Option("of the image", "image")];
  if (!details.colour) options.push(new Option("whole range", "range"));
  if (!details.picture) {
    for (const { name, width, level } of windows) options.push(new Option(`${name} (CT) ${width}/${level}`, name));
  }
  const custom = new Option("own", "own");
  custom.hidden = true;
  byId("window-preset").replaceChildren(...options, custom);
}
