// Buttons, fields and keys of the page, and what they call.

import { act } from "./commands.js";
import { listenToKeys } from "./keys.js";
import { byId } from "./panels.js";
import { chooseLanguage, language, languages } from "./texts.js";

export function connectSlider(view) {
  const slider = view.element.querySelector(".slice");
  slider.addEventListener("input", () => view.turn(Number(slider.value)));
}

export function connect(app) {
  connectSlider(app.views[0]);
  const on = (id, kind, action) => byId(id).addEventListener(kind, action);
  on("case-filter", "input", () => app.flow.show());
  on("previous", "click", () => app.flow.step(-1));
  on("next", "click", () => app.flow.step(1));
  on("skip-case", "click", () => app.flow.skip());
  on("export-all", "click", () => app.flow.exportAll());
  on("upload", "change", (event) => app.upload([...event.target.files]).then(() => (event.target.value = "")));
  on("toggle-cases", "click", () => app.toggleCases());
  on("done", "click", () =>
    app.study?.details.state === "done" ? app.flow.notDone() : app.flow.doneAndNext(),
  );
  on("help-button", "click", () => byId("help").showModal());
  on("sign", "click", () => app.set({ positive: !app.settings.positive }));
  on("brush", "input", (event) => app.set({ brush: Number(event.target.value) }));
  on("undo", "click", () => act(app, "undo"));
  on("redo", "click", () => act(app, "redo"));
  on("fit", "click", () => act(app, "fit"));
  on("add", "click", () => act(app, "add"));
  on("propagate-up", "click", () => app.propagation.start("up"));
  on("propagate-down", "click", () => app.propagation.start("down"));
  on("propagate-stop", "click", () => app.propagation.stop());
  on("show-surface", "click", () => app.surface.open());
  on("interpolate", "click", () => app.volume.interpolate());
  on("copy-up", "click", () => app.volume.copy(1));
  on("copy-down", "click", () => app.volume.copy(-1));
  on("clear-up", "click", () => app.volume.clearFrom("up"));
  on("clear-down", "click", () => app.volume.clearFrom("down"));
  on("window-preset", "change", (event) => app.study && app.windowing.choose(event.target.value));
  for (const id of ["window-width", "window-level"]) {
    on(
      id,
      "change",
      () =>
        app.study &&
        app.windowing.set(Number(byId("window-width").value), Number(byId("window-level").value)),
    );
  }
  on("opacity", "input", (event) => app.set({ opacity: Number(event.target.value) }));
  on("outlines", "change", (event) => app.set({ outlines: event.target.checked }));
  on("marks", "change", (event) => app.set({ marks: event.target.checked }));
  on("preview", "change", (event) => app.set({ preview: event.target.checked }));
  on("magnifier", "change", (event) => app.set({ magnifier: event.target.checked }));
  connectDialogs();
  on("reference", "change", (event) => {
    app.study.showReference = event.target.checked;
    app.changed();
  });
  on("reference-file", "change", (event) => app.loadReference(event.target));
  on("export", "click", () => act(app, "export"));
  listenToKeys((name, event) => act(app, name, event));
  addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.matches?.("canvas, body")) {
      app.spaceHeld = true;
      event.preventDefault();
    }
  });
  addEventListener("keyup", (event) => {
    if (event.key === " ") app.spaceHeld = false;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    app.upload([...event.dataTransfer.files]);
  });
  addEventListener("beforeunload", (event) => {
    if (app.study?.busy) event.preventDefault();
  });
  const narrow = matchMedia("(max-width: 1000px)");
  narrow.addEventListener("change", () => app.toggleCases(narrow.matches));
  if (narrow.matches) app.toggleCases(true);
}

function connectDialogs() {
  const select = byId("language");
  select.replaceChildren(...Object.entries(languages).map(([id, name]) => new Option(name, id)));
  select.value = language;
  select.addEventListener("change", () => chooseLanguage(select.value));
  // Y and N answer a question as well as the buttons.
  byId("ask").addEventListener("keydown", (event) => {
    const answer = { y: "yes", j: "yes", n: "no" }[event.key.toLowerCase()];
    if (!answer || event.repeat) return;
    // The key is spent: it means something else on the page.
    event.stopPropagation();
    event.preventDefault();
    byId("ask").close(answer);
  });
}
