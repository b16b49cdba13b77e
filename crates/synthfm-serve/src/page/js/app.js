// The annotator: opens cases, connects views, tools, panels and keys with the study.

import { call, download, listen, put, startSession } from "./api.js";
import { act } from "./commands.js";
import { Encoding } from "./encoding.js";
import { fromPatient, toPatient } from "./geometry.js";
import { describeKeys, listenToKeys } from "./keys.js";
import { byId, fillPresets, radios, showCases, showStructures, showTools } from "./panels.js";
import { Propagation } from "./propagation.js";
import { Study } from "./study.js";
import { View } from "./view.js";
import { Windowing } from "./windowing.js";

const SETTINGS_KEY = "synthfm-settings";
const BUBBLE_MS = 6000;

class App {
  constructor(info) {
    this.info = info;
    this.settings = {
      tool: "point",
      brush: 8,
      opacity: 0.35,
      outlines: true,
      marks: true,
      preview: false,
      ...JSON.parse(localStorage.getItem(SETTINGS_KEY) ?? "{}"),
      // Whoever comes back begins with positive clicks.
      positive: true,
    };
    this.cases = [];
    this.study = null;
    this.views = [new View(document.querySelector(".view"), this)];
    this.active = this.views[0];
    this.layout = "axial";
    this.spaceHeld = false;
    this.windowing = new Windowing(this);
    this.encoding = new Encoding(this);
    this.propagation = new Propagation(this);
  }

  async start() {
    byId("title").textContent = this.info.title;
    byId("notice").textContent = this.info.notice;
    byId("research").textContent = this.info.notice;
    describeKeys(byId("help-keys"));
    this.connect();
    this.showSettings();
    await this.loadCases();
    listen(
      {
        encode: (event) => this.encoding.event(event),
        propagate: (event) => this.propagation.event(event),
      },
      () => this.lost(),
    );
    const wanted = location.hash.slice(1);
    const first =
      this.cases.find(({ id }) => id === wanted) ?? this.cases.find(({ state }) => state !== "done") ?? this.cases[0];
    if (first) await this.open(first.id);
  }

  // Cases -------------------------------------------------------------------------------------------------------------

  async loadCases() {
    this.cases = (await call("GET", "/api/cases")).cases;
    this.showCases();
  }

  showCases() {
    showCases(this.cases, this.study?.id, byId("case-filter").value, (id) => {
      // On a narrow page the list lies over the image.
      if (matchMedia("(max-width: 1000px)").matches) this.toggleCases(true);
      this.open(id);
    });
  }

  async open(id, takeOver = false, volume = null) {
    const item = this.cases.find((c) => c.id === id);
    byId("status").textContent = `Opening ${item?.name ?? ""}…`;
    try {
      const details = await call("POST", `/api/cases/${id}/open`, { take_over: takeOver, volume });
      this.show(new Study(details));
    } catch (error) {
      byId("status").textContent = "";
      if (error.code === "taken") {
        if (await this.ask(`${item?.name}: ${error.message}. Take it over? The other window can then only look.`)) {
          await this.open(id, true, volume);
        }
        return;
      }
      this.views[0].message(error.message);
      byId("empty").hidden = true;
    }
  }

  /** Of a file with several volumes, which of them is looked at; the masks lie on all of them. */
  showVolumes({ id, volumes }) {
    byId("volumes").hidden = !volumes;
    if (!volumes) return;
    const options = Array.from({ length: volumes.count }, (_, n) => new Option(`${n + 1} of ${volumes.count}`, n + 1));
    const select = byId("volume");
    select.replaceChildren(...options);
    select.value = volumes.shown;
    select.onchange = async () => {
      await this.study.queue;
      await this.open(id, false, Number(select.value));
    };
  }

  show(study) {
    this.study = study;
    this.propagation.show(false);
    history.replaceState(null, "", `#${study.id}`);
    document.title = `${study.details.name} – synthfm`;
    byId("case-name").textContent = study.details.name;
    this.showVolumes(study.details);
    byId("empty").hidden = true;
    byId("done").disabled = false;
    byId("propagation").hidden = study.details.planes[0].slices < 2;
    byId("propagate-text").textContent = "";
    byId("export-text").textContent = study.details.note ?? "";
    byId("reference-text").textContent = "";
    study.addEventListener("change", (event) => this.changed(event.detail?.begun));
    study.addEventListener("details", () => this.showDetails());
    study.addEventListener("status", () => this.showStatus());
    study.addEventListener("problem", (event) => this.problem(event.detail));
    byId("format").replaceChildren(...study.details.formats.map(({ id, label }) => new Option(label, id)));
    fillPresets(this.info.windows, study.details);
    this.setLayout(study.details.planes.length > 1 && this.layout !== "axial" ? this.layout : "axial");
    this.windowing.show("image");
    this.showDetails();
    this.showStatus();
    if (study.details.reference) study.refresh();
  }

  async upload(files) {
    for (const file of files) {
      byId("status").textContent = `Sending ${file.name}…`;
      try {
        const added = await put(`/api/uploads?name=${encodeURIComponent(file.name)}`, file);
        await this.loadCases();
        await this.open(added.id);
      } catch (error) {
        byId("status").textContent = "";
        this.complain(`${file.name}: ${error.message}`);
      }
    }
  }

  step(by) {
    const at = this.cases.findIndex(({ id }) => id === this.study?.id);
    const next = this.cases[at + by];
    if (next) this.open(next.id);
  }

  async toggleDone() {
    const { study } = this;
    const done = study.details.state === "done";
    const answer = await study.setState(done ? "started" : "done");
    if (answer?.file) byId("export-text").textContent = `Labels are in ${answer.file}`;
  }

  // Views -------------------------------------------------------------------------------------------------------------

  setLayout(layout) {
    this.layout = layout;
    const planes = this.study.details.planes.map(({ name }) => name);
    const shown = layout === "all" ? planes : [planes.includes(layout) ? layout : planes[0]];
    const container = byId("views");
    while (this.views.length < shown.length) {
      const element = container.firstElementChild.cloneNode(true);
      element.dataset.view = this.views.length;
      container.append(element);
      this.views.push(new View(element, this));
      this.connectSlider(this.views.at(-1));
    }
    const kept = new Map(
      this.views.filter((view) => view.study === this.study).map((view) => [view.plane, view.index]),
    );
    this.views.forEach((view, n) => {
      view.element.hidden = n >= shown.length;
      if (n >= shown.length) {
        view.study = null;
        return;
      }
      view.show(this.study, shown[n]);
      const index = kept.get(shown[n]) ?? this.annotatedSlice(shown[n]);
      if (index !== undefined) view.turn(index);
    });
    container.classList.toggle("three", shown.length > 1);
    this.activate(this.views[0]);
    this.showPlanes(planes);
  }

  /** The middle of the slices that are marked, if any. */
  annotatedSlice(plane) {
    const marked = this.study.structures.flatMap(({ slices }) => slices?.[plane] ?? []);
    return marked.length ? marked.sort((a, b) => a - b)[Math.floor(marked.length / 2)] : undefined;
  }

  showPlanes(planes) {
    const element = byId("planes");
    element.hidden = planes.length < 2;
    const items = planes.map((id) => ({ id, name: id, title: `${id} plane (C)` }));
    items.push({ id: "all", name: "all three", title: "All planes (C)" });
    radios(element, items, this.layout, (id) => this.setLayout(id));
  }

  shown() {
    return this.views.filter((view) => view.study && !view.element.hidden);
  }

  activate(view) {
    this.active = view;
    for (const other of this.views) other.element.classList.toggle("active", other === view && this.shown().length > 1);
  }

  changed(begun) {
    for (const view of this.shown()) view.repaint(view === this.active ? begun : undefined);
  }

  /** A view shows another slice. */
  scrolled(view) {
    const { planeInfo, index, plane } = view;
    const slider = view.element.querySelector(".slice");
    slider.hidden = planeInfo.slices < 2;
    slider.max = planeInfo.slices - 1;
    slider.value = index;
    slider.setAttribute("aria-valuetext", `slice ${index} of ${planeInfo.slices}`);
    const text = planeInfo.slices > 1 ? `${plane} ${index} / ${planeInfo.slices - 1}` : "";
    view.element.querySelector(".view-label").textContent = text;
    view.canvas.setAttribute("aria-label", text ? `Slice ${index} of the ${plane} plane` : "Image");
    this.study.sliceDice = null;
    this.showScore();
    this.encoding.soon(view);
    for (const other of this.shown()) if (other !== view) other.repaint();
  }

  /** Lines where the slices of the other views cut this one. */
  guides(view) {
    if (this.shown().length < 2) return [];
    const lines = [];
    for (const other of this.shown()) {
      if (other === view || other.plane === view.plane) continue;
      const position = toPatient(other.planeInfo, other.index, [0, 0]);
      const at = fromPatient(view.planeInfo, position);
      const axis = { axial: "s", coronal: "p", sagittal: "l" }[other.plane];
      const vertical = view.plane === "axial" || view.plane === "coronal" ? axis === "l" : axis === "p";
      lines.push({ vertical, at: vertical ? at.point[0] : at.point[1], plane: other.plane });
    }
    return lines;
  }

  /** The pointer is at a pixel of a view, or at none. */
  moved(view, at, event) {
    const text = byId("where");
    if (!at || !view.slice || !view.contains(at)) {
      text.textContent = "";
      return;
    }
    const [col, row] = at.map(Math.round);
    const value = view.slice.at(col, row);
    const shown = Array.isArray(value) ? value.join(", ") : Number(value.toPrecision(6));
    text.textContent = `(${col}, ${row})  ${shown}`;
    if (event?.shiftKey && this.shown().length > 1) {
      const position = toPatient(view.planeInfo, view.index, [col, row]);
      for (const other of this.shown()) {
        if (other === view) continue;
        const { index } = fromPatient(other.planeInfo, position);
        if (Math.round(index) !== other.index) other.turn(Math.round(index));
      }
    }
  }

  // What is said --------------------------------------------------------------------------------------------------------

  showDetails() {
    const { study } = this;
    const { undo, redo, state, reference } = study.details;
    for (const [id, next, word] of [
      ["undo", undo, "Undo"],
      ["redo", redo, "Redo"],
    ]) {
      const button = byId(id);
      button.disabled = !next;
      button.title = `${next ? `${word}: ${next}` : `Nothing to ${id}`} (${id === "undo" ? "Ctrl+Z" : "Ctrl+Shift+Z"})`;
    }
    byId("done").textContent = state === "done" ? "Not done after all" : "Mark as done";
    byId("reference-row").hidden = !reference;
    const item = this.cases.find(({ id }) => id === study.id);
    if (item && item.state !== state) item.state = state;
    this.showCases();
    this.showScore();
    showStructures(study, {
      select: (id) => study.select(id),
      rename: (id, name) => (name ? this.relist(id, { name }) : this.showDetails()),
      recolour: (id, colour) => this.relist(id, { colour }),
      hide: (id) => this.hide(id),
      remove: (id) => this.removeStructure(id),
    });
  }

  relist(id, change) {
    return this.study.setStructures(this.study.structures.map((s) => (s.id === id ? { ...s, ...change } : s)));
  }

  hide(id) {
    const { hidden } = this.study;
    if (!hidden.delete(id)) hidden.add(id);
    this.showDetails();
    this.changed();
  }

  removeStructure(id) {
    return this.study.setStructures(this.study.structures.filter((s) => s.id !== id));
  }

  showScore() {
    const { study } = this;
    const score = study?.scores.get(study.current);
    const part = (name, value) => (typeof value === "number" ? `${name} ${value.toFixed(3)}` : null);
    const texts = [
      part("DSC slice", study?.sliceDice),
      part(study?.details.picture ? "DSC" : "DSC volume", score?.dice),
    ];
    byId("score").textContent = texts.filter(Boolean).join("   ");
  }

  showStatus() {
    const { busy, failed, details } = this.study;
    const element = byId("status");
    element.className = `status ${busy ? "busy" : failed ? "failed" : "saved"}`;
    element.dataset.state = busy ? "saving" : failed ? "failed" : "saved";
    element.textContent = busy ? "Saving…" : failed ? "Not saved" : details.revision ? "Saved" : "Nothing marked yet";
    element.title = failed ?? "";
  }

  problem({ message, code, at }) {
    if (code === "no_session") {
      this.lost();
      return;
    }
    if (code === "not_open") this.ask(`${message}`).then((yes) => yes && this.open(this.study.id, true));
    const view = this.shown().find((v) => at && v.plane === at.plane && v.index === at.index) ?? this.active;
    this.complain(message, view, at?.point);
  }

  /** Words in a bubble beside what caused them. */
  complain(text, view = this.active, at = null) {
    const bubble = byId("bubble");
    bubble.textContent = text;
    bubble.hidden = false;
    const outer = byId("viewer").getBoundingClientRect();
    const inner = view.canvas.getBoundingClientRect();
    const [x, y] = at && view.study ? view.screenOf(at) : [inner.width / 2, 24];
    const left = inner.left - outer.left + Math.max(8, Math.min(inner.width - 8, x));
    const top = inner.top - outer.top + Math.max(8, Math.min(inner.height - 60, y + 14));
    bubble.style.left = `${Math.max(8, Math.min(outer.width - bubble.offsetWidth - 8, left - bubble.offsetWidth / 2))}px`;
    bubble.style.top = `${top}px`;
    clearTimeout(this.bubbleTimer);
    this.bubbleTimer = setTimeout(() => {
      bubble.hidden = true;
    }, BUBBLE_MS);
  }

  lost() {
    byId("status").className = "status failed";
    byId("status").textContent = "Session ended: load the page again";
  }

  ask(text) {
    const dialog = byId("ask");
    byId("ask-text").textContent = text;
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((answer) => {
      dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
    });
  }

  // Settings, keys, fields ------------------------------------------------------------------------------------------------

  set(changes) {
    Object.assign(this.settings, changes);
    localStorage.setItem(SETTINGS_KEY, JSON.stringify(this.settings));
    this.showSettings();
    this.changed();
  }

  showSettings() {
    const { settings } = this;
    showTools(settings, (tool) => this.set({ tool }));
    byId("opacity").value = settings.opacity;
    byId("outlines").checked = settings.outlines;
    byId("marks").checked = settings.marks;
    byId("preview").checked = settings.preview;
    if (!settings.preview) this.study?.preview(this.active.plane, this.active.index, null);
    byId("views").dataset.tool = settings.tool;
  }

  connectSlider(view) {
    const slider = view.element.querySelector(".slice");
    slider.addEventListener("input", () => view.turn(Number(slider.value)));
  }

  connect() {
    this.connectSlider(this.views[0]);
    const on = (id, kind, action) => byId(id).addEventListener(kind, action);
    on("case-filter", "input", () => this.showCases());
    on("upload", "change", (event) => this.upload([...event.target.files]).then(() => (event.target.value = "")));
    on("toggle-cases", "click", () => this.toggleCases());
    on("done", "click", () => this.toggleDone());
    on("help-button", "click", () => byId("help").showModal());
    on("sign", "click", () => this.set({ positive: !this.settings.positive }));
    on("brush", "input", (event) => this.set({ brush: Number(event.target.value) }));
    on("undo", "click", () => act(this, "undo"));
    on("redo", "click", () => act(this, "redo"));
    on("fit", "click", () => act(this, "fit"));
    on("add", "click", () => act(this, "add"));
    on("propagate-up", "click", () => this.propagation.start("up"));
    on("propagate-down", "click", () => this.propagation.start("down"));
    on("propagate-stop", "click", () => this.propagation.stop());
    on("window-preset", "change", (event) => this.study && this.windowing.choose(event.target.value));
    for (const id of ["window-width", "window-level"]) {
      on(
        id,
        "change",
        () =>
          this.study &&
          this.windowing.set(Number(byId("window-width").value), Number(byId("window-level").value), "own"),
      );
    }
    on("opacity", "input", (event) => this.set({ opacity: Number(event.target.value) }));
    on("outlines", "change", (event) => this.set({ outlines: event.target.checked }));
    on("marks", "change", (event) => this.set({ marks: event.target.checked }));
    on("preview", "change", (event) => this.set({ preview: event.target.checked }));
    on("reference", "change", (event) => {
      this.study.showReference = event.target.checked;
      this.changed();
    });
    on("reference-file", "change", (event) => this.loadReference(event.target));
    on("export", "click", () => act(this, "export"));
    listenToKeys((name, event) => act(this, name, event));
    addEventListener("keydown", (event) => {
      if (event.key === " " && event.target.matches?.("canvas, body")) {
        this.spaceHeld = true;
        event.preventDefault();
      }
    });
    addEventListener("keyup", (event) => {
      if (event.key === " ") this.spaceHeld = false;
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      this.upload([...event.dataTransfer.files]);
    });
    addEventListener("beforeunload", (event) => {
      if (this.study?.busy) event.preventDefault();
    });
    const narrow = matchMedia("(max-width: 1000px)");
    narrow.addEventListener("change", () => this.toggleCases(narrow.matches));
    if (narrow.matches) this.toggleCases(true);
  }

  toggleCases(hide) {
    const hidden = document.body.classList.toggle("no-cases", hide);
    byId("toggle-cases").setAttribute("aria-expanded", String(!hidden));
  }

  async loadReference(input) {
    const [file] = input.files;
    input.value = "";
    if (!file || !this.study) return;
    const text = byId("reference-text");
    text.textContent = `Sending ${file.name}…`;
    try {
      await put(`/api/cases/${this.study.id}/reference?name=${encodeURIComponent(file.name)}`, file);
      this.study.references.clear();
      await this.study.refresh();
      text.textContent = `Compared with ${file.name}`;
    } catch (error) {
      text.textContent = `${file.name}: ${error.message}`;
    }
  }

  async export() {
    const text = byId("export-text");
    try {
      await this.study.queue;
      const { name, notes } = await download(`/api/cases/${this.study.id}/export?format=${byId("format").value}`);
      text.textContent = notes ? `Saved ${name}: ${notes}` : `Saved ${name}`;
    } catch (error) {
      text.textContent = error.message;
    }
  }
}

async function begin() {
  try {
    await startSession();
    const app = new App(await call("GET", "/api/info"));
    // For tests and the curious.
    window.synthfm = app;
    await app.start();
  } catch (error) {
    byId("status").className = "status failed";
    byId("status").textContent = error.message;
  }
}

begin();
