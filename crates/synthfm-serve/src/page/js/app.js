// The annotator: opens cases, connects views, tools, panels and keys with the study.

import { call, download, listen, put, startSession } from "./api.js";
import { Encoding } from "./encoding.js";
import { connect, connectSlider } from "./fields.js";
import { Flow } from "./flow.js";
import { describeKeys } from "./keys.js";
import { byId, radios, showStructures, showTools } from "./panels.js";
import { Propagation } from "./propagation.js";
import { ask, choose, complain, say, showScore, showStatus } from "./said.js";
import { Study } from "./study.js";
import { SurfaceView } from "./surface.js";
import { keyNames, known, loadTexts, t } from "./texts.js";
import { View } from "./view.js";
import { guides, moved, scrolled } from "./views.js";
import { Volume } from "./volume.js";
import { Windowing } from "./windowing.js";

const SETTINGS_KEY = "synthfm-settings";

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
      magnifier: false,
      layout: "axial",
      ...JSON.parse(localStorage.getItem(SETTINGS_KEY) ?? "{}"),
      // Whoever comes back begins with positive clicks.
      positive: true,
    };
    this.study = null;
    /** Counts wishes to open a case, and how many of them are under way: the case that is shown is no longer ours then. */
    this.opening = 0;
    this.leaving = 0;
    this.views = [new View(document.querySelector(".view"), this)];
    this.active = this.views[0];
    this.layout = this.settings.layout;
    this.spaceHeld = false;
    this.windowing = new Windowing(this);
    this.encoding = new Encoding(this);
    this.propagation = new Propagation(this);
    this.volume = new Volume(this);
    this.surface = new SurfaceView(this);
    this.flow = new Flow(this);
  }

  get cases() {
    return this.flow.cases;
  }

  async start() {
    byId("title").textContent = this.info.title;
    describeKeys(byId("help-keys"));
    connect(this);
    this.showSettings();
    await this.flow.load();
    listen(
      {
        encode: (event) => this.encoding.event(event),
        propagate: (event) => this.propagation.event(event),
        cases: () => this.flow.changed(),
        export: (event) => this.flow.exportEvent(event),
        rename: ({ done, of }) => this.renaming && this.say(t("rename.running", { done, of })),
        structures: (event) => event.case === this.study?.id && this.relisted(),
        taken: (event) => event.case === this.study?.id && this.study.takenOver(),
      },
      () => this.cameBack(),
    );
    const wanted = location.hash.slice(1);
    const first =
      this.cases.find(({ id }) => id === wanted) ?? this.cases.find(({ state }) => state !== "done") ?? this.cases[0];
    if (first) await this.open(first.id);
  }

  // Cases -------------------------------------------------------------------------------------------------------------

  async open(id, takeOver = false, volume = null) {
    const item = this.flow.item(id);
    this.opening += 1;
    const { opening } = this;
    // What was done last must have arrived before the case is another's.
    await this.study?.queue;
    this.flow.report();
    byId("status").textContent = t("case.opening", { name: item?.name ?? "" });
    this.leaving += 1;
    try {
      const details = await call("POST", `/api/cases/${id}/open`, { take_over: takeOver, volume });
      // A later wish has come meanwhile.
      if (opening === this.opening) this.show(new Study(details));
    } catch (error) {
      this.showStatus();
      if (error.code === "taken") {
        if (await this.ask(t("case.taken", { name: item?.name ?? "" }))) await this.open(id, true, volume);
        return;
      }
      this.views[0].message(error.message);
      byId("empty").hidden = true;
    } finally {
      this.leaving -= 1;
    }
  }

  /** The session had ended, and another one has begun: takes the case up again. */
  async cameBack() {
    const { study } = this;
    if (!study) return;
    const body = { take_over: false, volume: study.details.volumes?.shown ?? null };
    const details = await call("POST", `/api/cases/${study.id}/open`, body, { final: true });
    const { running } = this.propagation;
    if (details.revision !== study.details.revision) this.show(new Study(details));
    else study.refresh();
    this.propagation.takeUp(details, running);
    this.say(t("status.back"));
  }

  /** Of a file with several volumes, which of them is looked at; the masks lie on all of them. */
  showVolumes({ volumes }) {
    byId("volumes").hidden = !volumes;
    if (!volumes) return;
    const { count } = volumes;
    const options = Array.from({ length: count }, (_, n) => new Option(t("volume.of", { n: n + 1, count }), n + 1));
    const select = byId("volume");
    select.replaceChildren(...options);
    select.value = volumes.shown;
    select.onchange = () => this.open(this.study.id, false, Number(select.value));
  }

  show(study) {
    this.study = study;
    this.propagation.takeUp(study.details, false);
    history.replaceState(null, "", `#${study.id}`);
    document.title = `${study.details.name} – synthfm`;
    byId("case-name").textContent = study.details.name;
    byId("case-name").title = study.details.name;
    this.showVolumes(study.details);
    byId("empty").hidden = true;
    byId("done").disabled = false;
    byId("propagation").hidden = study.details.planes[0].slices < 2;
    byId("show-surface").hidden = study.details.planes[0].slices < 2;
    const { note } = study.details;
    byId("export-text").textContent = note ?? "";
    if (note) this.say(note);
    byId("reference-text").textContent = "";
    byId("where").textContent = "";
    study.addEventListener("change", (event) => this.changed(event.detail?.begun));
    study.addEventListener("details", () => this.showDetails());
    study.addEventListener("status", () => this.showStatus());
    study.addEventListener("acted", () => this.volume.forgetText());
    study.addEventListener("problem", (event) => this.problem(event.detail));
    byId("format").replaceChildren(...study.details.formats.map(({ id, label }) => new Option(label, id)));
    this.windowing.begin();
    const planes = study.details.planes.length;
    this.setLayout(planes > 1 ? this.settings.layout : "axial");
    this.showDetails();
    this.showStatus();
    if (study.details.reference) study.refresh();
  }

  async upload(files) {
    for (const file of files) {
      byId("status").textContent = t("sending", { name: file.name });
      try {
        const added = await put(`/api/uploads?name=${encodeURIComponent(file.name)}`, file);
        await this.flow.load();
        await this.open(added.id);
      } catch (error) {
        this.showStatus();
        this.complain(`${file.name}: ${error.message}`);
      }
    }
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
      connectSlider(this.views.at(-1));
    }
    const kept = new Map(this.study.seen);
    this.views.forEach((view, n) => {
      view.element.hidden = n >= shown.length;
      if (n >= shown.length) {
        view.study = null;
        return;
      }
      view.show(this.study, shown[n], kept.get(shown[n]) ?? this.annotatedSlice(shown[n]));
    });
    container.classList.toggle("three", shown.length > 1);
    this.activate(this.views[0]);
    this.showPlanes(planes);
  }

  /** A layout that a person has chosen stays for the next cases. */
  chooseLayout(layout) {
    // A stroke that is being drawn is kept.
    for (const view of this.shown()) view.tool.finish();
    this.setLayout(layout);
    this.set({ layout });
  }

  /** The middle of the slices that are marked, if any. */
  annotatedSlice(plane) {
    const marked = this.study.structures.flatMap(({ slices }) => slices?.[plane] ?? []);
    return marked.length ? marked.sort((a, b) => a - b)[Math.floor(marked.length / 2)] : undefined;
  }

  showPlanes(planes) {
    const element = byId("planes");
    element.hidden = planes.length < 2;
    const items = planes.map((id) => {
      const name = t(`plane.${id}`);
      return { id, name, title: t("plane.title", { plane: name }) };
    });
    items.push({ id: "all", name: t("plane.all"), title: t("plane.all.title") });
    radios(element, items, this.layout, (id) => this.chooseLayout(id));
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

  scrolled(view) {
    scrolled(this, view);
  }

  guides(view) {
    return guides(this, view);
  }

  moved(view, at, event) {
    moved(this, view, at, event);
  }

  // What is said --------------------------------------------------------------------------------------------------------

  showDetails() {
    const { study } = this;
    const { undo, redo, state, reference } = study.details;
    for (const [id, next] of [
      ["undo", undo],
      ["redo", redo],
    ]) {
      const button = byId(id);
      button.disabled = !next;
      const what = known(`step.${next}`, next);
      const text = next ? t(`${id}.what`, { what }) : t(`${id}.none`);
      button.title = `${text} (${keyNames(id === "undo" ? "Ctrl+Z" : "Ctrl+Shift+Z")})`;
    }
    const isDone = state === "done";
    byId("done").textContent = t(isDone ? "done.undo" : "done.next");
    byId("done").title = t(isDone ? "done.undo.title" : "done.title");
    byId("reference-row").hidden = !reference;
    const item = this.flow.item();
    if (item && item.state !== state) item.state = state;
    this.flow.show();
    this.showScore();
    showStructures(study, {
      select: (id) => study.select(id),
      rename: (id, name) => (name ? this.rename(id, name) : this.showDetails()),
      recolour: (id, colour) => this.relist(id, { colour }),
      hide: (id) => this.hide(id),
      remove: (id) => this.removeStructure(id),
      put: ({ name, colour }) => this.putLabel(name, colour),
    });
  }

  relist(id, change, rename) {
    const { study } = this;
    return study.setStructures(
      study.structures.map((s) => (s.id === id ? { ...s, ...change } : s)),
      rename,
    );
  }

  /** Gives a structure another name; where other cases have the old one, asks whether they get it too. */
  async rename(id, name) {
    const { study } = this;
    const { name: before } = study.structure(id);
    const taken = study.structures.some((s) => s.id !== id && s.name === name);
    const isBackground = name.toLowerCase() === "background";
    if (taken || isBackground) {
      this.showDetails();
      this.complain(t(taken ? "structure.taken" : "structure.background", { name }));
      return;
    }
    let answer = await this.relist(id, { name });
    if (answer === "rename") {
      const where = await choose(t("rename.question", { name: before, to: name }), t("rename.all"), t("rename.case"));
      this.renaming = where === "yes";
      if (where) answer = await this.relist(id, { name }, where === "yes" ? "all" : "case");
      this.renaming = false;
    }
    if (answer?.notes?.length) this.complain(answer.notes.join("; "));
    this.showDetails();
  }

  /** The structures of the case have become others, on another case or in another window. */
  async relisted() {
    await this.study.refresh();
    this.showDetails();
    this.changed();
  }

  /** Puts a label of the data set on this case. */
  async putLabel(name, colour) {
    const { study } = this;
    if (!(await study.setStructures([...study.structures, { name, colour }]))) return;
    study.select(study.structures.find((structure) => structure.name === name).id);
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
    showScore(this);
  }

  showStatus() {
    showStatus(this);
  }

  complain(text, view, at) {
    complain(this, text, view, at);
  }

  say(text) {
    say(text);
  }

  ask(text) {
    return ask(text);
  }

  problem({ message, code, at }) {
    if (code === "not_open") {
      this.study.takenOver();
      this.ask(t("case.taken.over")).then((yes) => yes && this.open(this.study.id, true));
    }
    const view = this.shown().find((v) => at && v.plane === at.plane && v.index === at.index) ?? this.active;
    this.complain(message, view, at?.point);
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
    byId("magnifier").checked = settings.magnifier;
    if (!settings.preview) this.study?.preview(this.active.plane, this.active.index, null);
    byId("views").dataset.tool = settings.tool;
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
    text.textContent = t("sending", { name: file.name });
    try {
      await put(`/api/cases/${this.study.id}/reference?name=${encodeURIComponent(file.name)}`, file);
      this.study.references.clear();
      await this.study.refresh();
      text.textContent = t("reference.loaded", { name: file.name });
    } catch (error) {
      text.textContent = `${file.name}: ${error.message}`;
    }
  }

  async export() {
    const text = byId("export-text");
    try {
      await this.study.queue;
      const { name, notes } = await download(`/api/cases/${this.study.id}/export?format=${byId("format").value}`);
      const said = t("export.saved", { name });
      text.textContent = notes ? `${said}: ${notes}` : said;
    } catch (error) {
      text.textContent = error.message;
    }
  }
}

async function begin() {
  try {
    await loadTexts();
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
