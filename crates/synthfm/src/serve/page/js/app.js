// The annotator: opens cases, connects views, tools, panels and keys with the study.

import { call, download, listen, put, startSession } from "./api.js";
import { describeKeys, listenToKeys } from "./keys.js";
import { byId, fillPresets, radios, showCases, showStructures, showTools } from "./panels.js";
import { Study } from "./study.js";
import { TOOLS } from "./tools.js";
import { View } from "./view.js";

const SETTINGS_KEY = "synthfm-settings";
const ENCODE_AFTER_MS = 120;
const BUBBLE_MS = 6000;

class App {
  constructor(info) {
    this.info = info;
    this.settings = { tool: "point", positive: true, brush: 8, opacity: 0.35, outlines: true, marks: true,
      ...JSON.parse(localStorage.getItem(SETTINGS_KEY) ?? "{}"), positive: true };
    this.cases = [];
    this.study = null;
    this.views = [new View(document.querySelector(".view"), this)];
    this.active = this.views[0];
    this.layout = "axial";
    this.spaceHeld = false;
    this.cross = null;
    this.propagating = false;
    this.encodeTimer = 0;
  }

  async start() {
    byId("title").textContent = this.info.title;
    byId("notice").textContent = this.info.notice;
    byId("research").textContent = this.info.notice;
    describeKeys(byId("help-keys"));
    this.connect();
    this.showSettings();
    await this.loadCases();
    listen({
      encode: (event) => this.encodeEvent(event),
      propagate: (event) => this.propagateEvent(event),
    }, () => this.lost());
    const wanted = location.hash.slice(1);
    const first = this.cases.find(({ id }) => id === wanted) ?? this.cases.find(({ state }) => state !== "done") ?? this.cases[0];
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

  async open(id, takeOver = false) {
    const item = this.cases.find((c) => c.id === id);
    byId("status").textContent = `Opening ${item?.name ?? ""}…`;
    try {
      const details = await call("POST", `/api/cases/${id}/open`, { take_over: takeOver });
      this.show(new Study(details));
    } catch (error) {
      byId("status").textContent = "";
      if (error.code === "taken") {
        if (await this.ask(`${item?.name}: ${error.message}. Take it over? The other window can then only look.`)) {
          await this.open(id, true);
        }
        return;
      }
      this.views[0].message(error.message);
      byId("empty").hidden = true;
    }
  }

  show(study) {
    this.study = study;
    this.propagating = false;
    history.replaceState(null, "", `#${study.id}`);
    document.title = `${study.details.name} – synthfm`;
    byId("case-name").textContent = study.details.name;
    byId("empty").hidden = true;
    byId("done").disabled = false;
    byId("propagation").hidden = study.details.planes[0].slices < 2;
    byId("propagate-text").textContent = "";
    byId("export-text").textContent = "";
    byId("reference-text").textContent = "";
    study.addEventListener("change", (event) => this.changed(event.detail?.begun));
    study.addEventListener("details", () => this.showDetails());
    study.addEventListener("status", () => this.showStatus());
    study.addEventListener("problem", (event) => this.problem(event.detail));
    byId("format").replaceChildren(...study.details.formats.map(({ id, label }) => new Option(label, id)));
    fillPresets(this.info.windows, study.details);
    this.setLayout(study.details.planes.length > 1 && this.layout !== "axial" ? this.layout : "axial");
    this.showWindow("image");
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
    const kept = new Map(this.views.filter((view) => view.study === this.study).map((view) => [view.plane, view.index]));
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
    this.encodeSoon(view);
    for (const other of this.shown()) if (other !== view) other.repaint();
  }

  /** Lines where the slices of the other views cut this one. */
  guides(view) {
    if (this.shown().length < 2) return [];
    const lines = [];
    for (const other of this.shown()) {
      if (other === view || other.plane === view.plane) continue;
      const position = this.toPatient(other.plane, other.index, [0, 0]);
      const at = this.fromPatient(view.plane, position);
      const axis = { axial: "s", coronal: "p", sagittal: "l" }[other.plane];
      const vertical = (view.plane === "axial" || view.plane === "coronal") ? axis === "l" : axis === "p";
      lines.push({ vertical, at: vertical ? at.point[0] : at.point[1], plane: other.plane });
    }
    return lines;
  }

  /** Counts along left, back and up, from a pixel of a slice; views are radiological. */
  toPatient(plane, index, [x, y]) {
    const info = this.study.plane(plane);
    const along = "LPS".includes(info.along) ? index : info.slices - 1 - index;
    const up = info.height - 1 - y;
    if (plane === "axial") return { l: x, p: y, s: along };
    if (plane === "coronal") return { l: x, p: along, s: up };
    return { l: along, p: x, s: up };
  }

  /** The slice and the pixel of a plane at such counts. */
  fromPatient(plane, { l, p, s }) {
    const info = this.study.plane(plane);
    const [across, point] = {
      axial: [s, [l, p]],
      coronal: [p, [l, info.height - 1 - s]],
      sagittal: [l, [p, info.height - 1 - s]],
    }[plane];
    return { index: "LPS".includes(info.along) ? across : info.slices - 1 - across, point };
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
      const position = this.toPatient(view.plane, view.index, [col, row]);
      for (const other of this.shown()) {
        if (other === view) continue;
        const { index } = this.fromPatient(other.plane, position);
        if (Math.round(index) !== other.index) other.turn(Math.round(index));
      }
    }
  }

  // Window ------------------------------------------------------------------------------------------------------------

  /** A drag of the right button: across for width, down for level. */
  windowed(dx, dy, finished) {
    if (!this.study) return;
    const [low, high] = this.study.window;
    const base = this.study.details.window;
    const speed = Math.max((base[1] - base[0]) / 300, (high - low) / 400);
    const width = Math.max(high - low + dx * speed, speed / 8, Number.EPSILON);
    const level = (low + high) / 2 + dy * speed;
    this.setWindow(width, level, "own", finished);
  }

  setWindow(width, level, preset, finished = true) {
    const limits = [level - width / 2, level + width / 2].map(Math.fround);
    if (!(Number.isFinite(limits[0]) && Number.isFinite(limits[1]) && limits[0] < limits[1])) return;
    this.study.window = limits;
    this.showWindow(preset);
    this.changed();
    if (finished) for (const view of this.shown()) this.encodeSoon(view);
  }

  choosePreset(name) {
    const { details } = this.study;
    const preset = this.info.windows.find((w) => w.name === name);
    if (preset) this.setWindow(preset.width, preset.level, name);
    else if (name === "range") {
      const { offset, step } = details.scale;
      let high = offset + step;
      for (const view of this.shown()) {
        for (const value of view.slice?.values ?? []) high = Math.max(high, offset + step * value);
      }
      this.setWindow(high - offset, (high + offset) / 2, name);
    } else {
      const [low, high] = details.window;
      this.study.window = [low, high];
      this.showWindow("image");
      this.changed();
      for (const view of this.shown()) this.encodeSoon(view);
    }
  }

  showWindow(preset) {
    const [low, high] = this.study.window;
    const short = (value) => Number(value.toPrecision(5));
    byId("window-preset").value = preset;
    byId("window-width").value = short(high - low);
    byId("window-level").value = short((low + high) / 2);
    byId("window-text").textContent = `W ${short(high - low)}  L ${short((low + high) / 2)}`;
  }

  // Encoding and propagation --------------------------------------------------------------------------------------------

  /** Has the slice encoded that is looked at for a moment. */
  encodeSoon(view) {
    clearTimeout(view.encodeTimer);
    const { study } = this;
    view.encodeTimer = setTimeout(async () => {
      if (view.study !== study) return;
      const { plane, index } = view;
      try {
        const body = { plane, index, window: study.window, ahead: this.shown().length > 1 ? [] : [index + 1, index - 1].filter((n) => n >= 0) };
        await call("POST", `/api/cases/${study.id}/encode`, body);
      } catch (error) {
        if (error.code === "no_session") this.lost();
        else if (this.study === study) this.problem({ message: error.message, code: error.code, at: { plane, index } });
      }
    }, view.slice ? ENCODE_AFTER_MS : 0);
  }

  encodeEvent({ case: id, state, plane, index, expected_ms: expected, error }) {
    const looked = this.shown().some((view) => view.plane === plane && view.index === index);
    if (id !== this.study?.id || !looked) return;
    clearInterval(this.encodeTimer);
    const [box, bar] = [byId("encoding"), byId("encoding-bar")];
    if (state === "running") {
      const started = performance.now();
      byId("encoding-text").textContent = "Encoding";
      const turn = () => {
        const share = (performance.now() - started) / Math.max(expected, 1);
        bar.value = 100 * (share < 0.9 ? share : 1 - 0.1 * Math.exp(0.9 - share));
      };
      box.hidden = false;
      turn();
      this.encodeTimer = setInterval(turn, 60);
    } else {
      if (state === "failed") this.problem({ message: error, at: { plane, index } });
      bar.value = 100;
      byId("encoding-text").textContent = state === "failed" ? "Not encoded" : "Ready";
      this.encodeTimer = setTimeout(() => {
        box.hidden = true;
      }, 800);
    }
  }

  async propagate(direction) {
    const { study, active } = this;
    if (!study || study.details.planes[0].slices < 2) return;
    const { plane, index } = active;
    const count = Number.parseInt(byId("propagate-count").value, 10) || undefined;
    const text = byId("propagate-text");
    try {
      await study.queue;
      const body = { structure: study.current, plane, index, direction, count, window: study.window };
      this.showPropagating(true);
      text.textContent = "Propagating…";
      const { slices } = await call("POST", `/api/cases/${study.id}/propagate`, body);
      this.planned = slices;
      this.carried = 0;
    } catch (error) {
      this.showPropagating(false);
      text.textContent = "";
      this.problem({ message: error.message, code: error.code, at: { plane, index } });
    }
  }

  propagateEvent(event) {
    const { study } = this;
    if (event.case !== study?.id) return;
    if (event.progress === "slice") {
      study.take(event);
      this.carried += 1;
      byId("propagate-text").textContent = `Slice ${event.index} (${this.carried} of ${this.planned ?? "…"})`;
      if (this.active.plane === event.plane) this.active.turn(event.index);
    } else {
      this.showPropagating(false);
      byId("propagate-text").textContent = `${event.done} ${event.done === 1 ? "slice" : "slices"} done; ${event.reason}.`;
      study.refresh();
    }
  }

  async stopPropagating() {
    if (this.propagating) await call("DELETE", `/api/cases/${this.study.id}/propagate`).catch(() => {});
  }

  showPropagating(on) {
    this.propagating = on;
    byId("propagate-stop").hidden = !on;
    byId("propagate-up").hidden = on;
    byId("propagate-down").hidden = on;
  }

  // What is said --------------------------------------------------------------------------------------------------------

  showDetails() {
    const { study } = this;
    const { undo, redo, state, reference } = study.details;
    for (const [id, next, word] of [["undo", undo, "Undo"], ["redo", redo, "Redo"]]) {
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
    const texts = [part("DSC slice", study?.sliceDice), part(study?.details.picture ? "DSC" : "DSC volume", score?.dice)];
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
    on("undo", "click", () => this.act("undo"));
    on("redo", "click", () => this.act("redo"));
    on("fit", "click", () => this.act("fit"));
    on("add", "click", () => this.act("add"));
    on("propagate-up", "click", () => this.propagate("up"));
    on("propagate-down", "click", () => this.propagate("down"));
    on("propagate-stop", "click", () => this.stopPropagating());
    on("window-preset", "change", (event) => this.study && this.choosePreset(event.target.value));
    for (const id of ["window-width", "window-level"]) {
      on(id, "change", () => this.study && this.setWindow(Number(byId("window-width").value), Number(byId("window-level").value), "own"));
    }
    on("opacity", "input", (event) => this.set({ opacity: Number(event.target.value) }));
    on("outlines", "change", (event) => this.set({ outlines: event.target.checked }));
    on("marks", "change", (event) => this.set({ marks: event.target.checked }));
    on("reference", "change", (event) => {
      this.study.showReference = event.target.checked;
      this.changed();
    });
    on("reference-file", "change", (event) => this.loadReference(event.target));
    on("export", "click", () => this.act("export"));
    listenToKeys((name, event) => this.act(name, event));
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
      const name = await download(`/api/cases/${this.study.id}/export?format=${byId("format").value}`);
      text.textContent = `Saved ${name}`;
    } catch (error) {
      text.textContent = error.message;
    }
  }

  /** Does what a key or a button asks for; false if it has no meaning now. */
  act(name, event) {
    const { study, active: view } = this;
    if (TOOLS.some(({ id }) => id === name)) return this.set({ tool: name });
    const always = {
      help: () => byId("help").showModal(),
      sign: () => this.set({ positive: !this.settings.positive }),
      outlines: () => this.set({ outlines: !this.settings.outlines }),
      "brush-size": () => this.set({ brush: Math.max(0.5, Math.min(60, this.settings.brush * (event.key === "]" ? 1.25 : 0.8))) }),
      case: () => this.step(event.shiftKey ? -1 : 1),
      escape: () => {
        byId("bubble").hidden = true;
        this.stopPropagating();
        for (const other of this.shown()) other.tool.cancel();
      },
    };
    if (always[name]) return always[name]();
    if (!study) return false;
    return {
      undo: () => study.step("undo"),
      redo: () => study.step("redo"),
      reset: () => study.clear(view.plane, view.index),
      unclick: () => this.unclick(view),
      delete: () => study.current !== null && this.removeStructure(study.current),
      add: () => study.addStructure(),
      next: () => this.nextStructure(),
      choose: () => {
        const chosen = study.structures[Number(event.key) - 1];
        if (chosen) study.select(chosen.id);
      },
      visibility: () => this.toggleVisibility(),
      cursor: () => this.keyCursor(view, event),
      slice: () => this.keySlice(view, event),
      propagate: () => this.propagate(event.key === "." ? "up" : "down"),
      plane: () => this.nextLayout(),
      fit: () => this.shown().forEach((other) => other.fit()),
      zoom: () => view.zoomBy(event.key === "-" ? 0.8 : 1.25),
      export: () => this.export(),
    }[name]();
  }

  keySlice(view, event) {
    if (view.planeInfo.slices < 2) return false;
    const step = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    view.scrollBy(step);
    return true;
  }

  /** A cursor for those who work without a pointer. */
  keyCursor(view, event) {
    if (event.key === "Enter") {
      const negative = event.ctrlKey || event.metaKey;
      if (view.cursor) view.tool.click(view.cursor, negative !== this.settings.positive, event.timeStamp);
    } else {
      const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      view.moveCursor(dx, dy);
    }
  }

  unclick(view) {
    const { study } = this;
    const prompts = structuredClone(study.entry(view.plane, view.index)?.prompts);
    if (!prompts?.points.length) return;
    prompts.points.pop();
    prompts.labels.pop();
    if (prompts.points.length || prompts.box) study.predict(view.plane, view.index, prompts, "remove_click");
    else study.clear(view.plane, view.index);
  }

  nextStructure() {
    const { study } = this;
    const at = study.structures.findIndex(({ id }) => id === study.current);
    const next = study.structures[at + 1];
    if (next) study.select(next.id);
    else study.addStructure();
  }

  toggleVisibility() {
    const { study } = this;
    if (study.hidden.size) study.hidden.clear();
    else for (const { id } of study.structures) study.hidden.add(id);
    this.showDetails();
    this.changed();
  }

  nextLayout() {
    const planes = this.study.details.planes.map(({ name }) => name);
    if (planes.length < 2) return;
    const all = [...planes, "all"];
    this.setLayout(all[(all.indexOf(this.layout) + 1) % all.length]);
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
