// The panels beside the image: cases, structures, display, export.

import { duration, number, t } from "./texts.js";
import { TOOLS } from "./tools.js";

const DOUBLE_MS = 450;
const STATES = { new: "○", started: "◐", done: "●" };

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
  byId("case-list").replaceChildren(...shown.slice(0, 1000).map((item) => caseItem(item, item.id === current, open)));
}

function caseItem({ id, name, state, uploaded, seconds }, current, open) {
  const word = t(`state.${state}`);
  const at = name.lastIndexOf("/");
  const folder = at >= 0 ? make("small", { textContent: name.slice(0, at + 1) }) : "";
  const button = make(
    "button",
    { onclick: () => open(id), title: seconds ? `${name}: ${duration(seconds)}` : name, dataset: { case: id } },
    make("span", { className: `state ${state}`, textContent: STATES[state], title: word, role: "img", "aria-label": word }),
    make("span", { className: "case-title" }, folder, name.slice(at + 1)),
    uploaded ? make("small", { textContent: t("cases.upload") }) : "",
    state === "done" && seconds ? make("small", { textContent: duration(seconds) }) : "",
  );
  if (current) button.setAttribute("aria-current", "true");
  return make("li", {}, button);
}

/** The list of structures; `on` has select, rename, recolour, hide, remove, and put for labels that are not on the case. */
export function showStructures(study, on) {
  const list = byId("structures");
  // A name that is being typed stays.
  if (list.contains(document.activeElement) && document.activeElement.matches("input[type=text]")) return;
  const focused = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
  const items = study.structures.map((structure) => structureItem(study, structure, on));
  list.replaceChildren(...items, ...study.absent.map((label) => absentItem(label, on)));
  const missing = study.structures.filter(({ voxels }) => !voxels).length + study.absent.length;
  const text = missing === 1 ? t("structures.missing.one") : t("structures.missing", { count: missing });
  byId("missing").textContent = missing ? text : "";
  if (focused) list.querySelector(`li[data-id="${focused}"] .structure-name`)?.focus();
}

/** A label of the data set that this case does not have. */
function absentItem(label, on) {
  const { name, colour } = label;
  const button = make(
    "button",
    { className: "structure-name", onclick: () => on.put(label), title: t("structure.put", { name }) },
    make("span", { textContent: name }),
    make("small", { textContent: t("structure.absent") }),
  );
  const item = make("li", { className: "absent" }, make("span", { className: "swatch" }), button);
  item.style.setProperty("--colour", colour);
  return item;
}

/** Size and, where there is a reference, score of a structure. */
function structureSize(study, { voxels }) {
  if (!voxels) return t("structure.empty");
  return t(study.details.picture ? "structure.pixels" : "structure.voxels", { count: number(voxels) });
}

function structureItem(study, structure, on) {
  const { id, name, colour, voxels, key } = structure;
  const hidden = study.hidden.has(id);
  const score = study.scores.get(id)?.dice;
  const size = structureSize(study, structure);
  const scored = voxels && typeof score === "number" ? make("small", { textContent: `DSC ${number(score, 3)}` }) : "";
  const item = make(
    "li",
    { dataset: { id } },
    make("input", {
      type: "color",
      value: colour,
      title: t("structure.colour", { name }),
      "aria-label": t("structure.colour", { name }),
      onchange: (event) => on.recolour(id, event.target.value),
    }),
    make(
      "button",
      {
        className: "structure-name",
        onclick: (event) => (isSecond(id, event) ? rename(item, structure, on) : on.select(id)),
        title: t(key ? "structure.title" : "structure.title.keyless", { name, key }),
      },
      make("span", {}, key ? make("kbd", { textContent: key }) : "", name),
      make("small", { textContent: size }),
      scored,
    ),
    make("button", {
      className: "icon rename",
      textContent: "✎",
      title: t("structure.rename", { name }),
      "aria-label": t("structure.rename", { name }),
      onclick: () => rename(item, structure, on),
    }),
    make("button", {
      className: "icon",
      textContent: hidden ? "◌" : "◉",
      title: t(hidden ? "structure.show" : "structure.hide", { name }),
      "aria-label": t(hidden ? "structure.show" : "structure.hide", { name }),
      onclick: () => on.hide(id),
    }),
    make("button", {
      className: "icon",
      textContent: "✕",
      title: t("structure.delete", { name }),
      "aria-label": t("structure.delete", { name }),
      onclick: () => on.remove(id),
    }),
  );
  if (id === study.current) item.setAttribute("aria-current", "true");
  item.style.setProperty("--colour", colour);
  return item;
}

/** The first click of two makes the list anew, so that the browser sees no double click. */
let lastClick = { id: null, time: 0 };

function isSecond(id, { timeStamp: time }) {
  const second = lastClick.id === id && time - lastClick.time < DOUBLE_MS;
  lastClick = { id: second ? null : id, time };
  return second;
}

function rename(item, { id, name }, on) {
  const field = make("input", { type: "text", value: name, maxLength: 64, "aria-label": t("structure.name") });
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
  const items = TOOLS.map(({ id, key }) => ({ id, name: t(`tool.${id}`), title: `${t(`tool.${id}.hint`)} (${key})` }));
  radios(byId("tools"), items, settings.tool, choose);
  const sign = byId("sign");
  sign.textContent = t(settings.positive ? "sign.inside" : "sign.outside");
  sign.setAttribute("aria-pressed", String(settings.positive));
  sign.classList.toggle("negative", !settings.positive);
  byId("brush-size").hidden = !["brush", "eraser"].includes(settings.tool);
  byId("brush").value = settings.brush;
}
