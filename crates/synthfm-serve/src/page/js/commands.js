// What keys and buttons ask for.

import { byId } from "./panels.js";
import { TOOLS } from "./tools.js";

/** Does what a key or a button asks for; false if it has no meaning now. */
export function act(app, name, event) {
  const { study, active: view } = app;
  if (TOOLS.some(({ id }) => id === name)) return app.set({ tool: name });
  const always = {
    help: () => byId("help").showModal(),
    sign: () => app.set({ positive: !app.settings.positive }),
    outlines: () => app.set({ outlines: !app.settings.outlines }),
    preview: () => app.set({ preview: !app.settings.preview }),
    "brush-size": () =>
      app.set({ brush: Math.max(0.5, Math.min(60, app.settings.brush * (event.key === "]" ? 1.25 : 0.8))) }),
    magnifier: () => app.set({ magnifier: !app.settings.magnifier }),
    case: () => app.flow.step(event.shiftKey ? -1 : 1),
    skip: () => app.flow.skip(),
    escape: () => {
      byId("bubble").hidden = true;
      app.propagation.stop();
      for (const other of app.shown()) {
        other.ruler = null;
        other.tool.cancel();
      }
    },
  };
  if (always[name]) return always[name]();
  if (!study) return false;
  return {
    done: () => app.flow.doneAndNext(),
    surface: () => app.surface.open(),
    interpolate: () => app.volume.interpolate(),
    copy: () => app.volume.copy(event.shiftKey ? -1 : 1),
    clear: () => app.volume.clearFrom(event.key === "PageUp" ? "up" : "down"),
    undo: () => study.step("undo"),
    redo: () => study.step("redo"),
    reset: () => study.clear(view.plane, view.index),
    unclick: () => unclick(app, view),
    delete: () => study.current !== null && app.removeStructure(study.current),
    add: () => study.addStructure(),
    next: () => nextStructure(app),
    choose: () => {
      const chosen = study.structures.find(({ key }) => key === Number(event.key));
      if (chosen) study.select(chosen.id);
    },
    visibility: () => toggleVisibility(app),
    cursor: () => keyCursor(app, view, event),
    slice: () => keySlice(app, view, event),
    propagate: () => app.propagation.start(event.key === "." ? "up" : "down"),
    plane: () => nextLayout(app),
    fit: () => app.shown().forEach((other) => other.fit()),
    zoom: () => view.glideBy(event.key === "-" ? 0.8 : 1.25),
    export: () => app.export(),
  }[name]();
}

function keySlice(app, view, event) {
  if (view.planeInfo.slices < 2) return false;
  const step = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
  view.scrollBy(step);
  return true;
}

/** A cursor for those who work without a pointer. */
function keyCursor(app, view, event) {
  if (event.key === "Enter") {
    const negative = event.ctrlKey || event.metaKey;
    if (view.cursor) view.tool.click(view.cursor, negative !== app.settings.positive, event.timeStamp);
  } else {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    view.moveCursor(dx, dy);
  }
}

function unclick(app, view) {
  const { study } = app;
  const prompts = structuredClone(study.entry(view.plane, view.index)?.prompts);
  if (!prompts?.points.length) return;
  prompts.points.pop();
  prompts.labels.pop();
  if (prompts.points.length || prompts.box) study.predict(view.plane, view.index, prompts, "remove_click");
  else study.clear(view.plane, view.index);
}

function nextStructure(app) {
  const { study } = app;
  const at = study.structures.findIndex(({ id }) => id === study.current);
  const next = study.structures[at + 1];
  if (next) study.select(next.id);
  else study.addStructure();
}

function toggleVisibility(app) {
  const { study } = app;
  if (study.hidden.size) study.hidden.clear();
  else for (const { id } of study.structures) study.hidden.add(id);
  app.showDetails();
  app.changed();
}

function nextLayout(app) {
  const planes = app.study.details.planes.map(({ name }) => name);
  if (planes.length < 2) return;
  const all = [...planes, "all"];
  app.chooseLayout(all[(all.indexOf(app.layout) + 1) % all.length]);
}
