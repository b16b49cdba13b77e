// From case to case: done and next, previous, skip, the time that each takes, and all finished cases as one file.

import { call, download } from "./api.js";
import { byId, showCases } from "./panels.js";
import { duration, t } from "./texts.js";

/** A person who has not moved for so long is elsewhere. */
const PAUSE_MS = 60_000;
const REPORT_S = 20;

export class Flow {
  constructor(app) {
    this.app = app;
    this.cases = [];
    this.spent = 0;
    this.seen = performance.now();
    this.busy = false;
    for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"])
      addEventListener(kind, () => (this.seen = performance.now()), { passive: true, capture: true });
    setInterval(() => this.tick(), 1000);
    addEventListener("pagehide", () => this.report({ keepalive: true }));
  }

  /** Lists the cases again; whether others are there now. */
  async load() {
    const before = this.cases.map(({ id }) => id).join();
    this.cases = (await call("GET", "/api/cases")).cases;
    this.show();
    return before !== this.cases.map(({ id }) => id).join();
  }

  /** Files came or went. */
  async changed() {
    if (!(await this.load())) return;
    const { study } = this.app;
    const again = study && !this.item() && this.cases.find(({ name }) => name === study.details.name);
    if (again) {
      // Another image under the name of the one that is shown.
      await this.app.open(again.id);
      const { note } = this.app.study.details;
      this.app.say(note ?? t("case.replaced", { name: again.name }));
      return;
    }
    this.app.say(t("case.new.files", { count: this.cases.length }));
    if (!study && this.cases.length) await this.app.open(this.cases[0].id);
  }

  get at() {
    return this.cases.findIndex(({ id }) => id === this.app.study?.id);
  }

  item(id = this.app.study?.id) {
    return this.cases.find((item) => item.id === id);
  }

  // Time ----------------------------------------------------------------------------------------------------------------

  tick() {
    if (!this.app.study || document.hidden || performance.now() - this.seen > PAUSE_MS) return;
    this.spent += 1;
    if (this.spent >= REPORT_S) this.report();
  }

  /** Tells the server how long the person was at the open case. */
  report(options = {}) {
    const { study } = this.app;
    const seconds = this.spent;
    if (!study || seconds === 0) return;
    this.spent = 0;
    const item = this.item();
    if (item) item.seconds += seconds;
    // Time is worth no message.
    call("POST", `/api/cases/${study.id}/time`, { seconds }, options).catch(() => {});
  }

  // Going on ------------------------------------------------------------------------------------------------------------

  /** The case so many places on in the list. */
  async step(by) {
    const next = this.cases[this.at + by];
    if (next) await this.app.open(next.id);
    else this.app.say(t(by > 0 ? "case.none.next" : "case.none.before"));
  }

  /** The first case after this one that is not done; begins again after the last. */
  unfinished() {
    const { at, cases } = this;
    const around = [...cases.slice(at + 1), ...cases.slice(0, Math.max(at, 0))];
    return around.find(({ state }) => state !== "done");
  }

  async skip() {
    const next = this.unfinished();
    if (next) await this.app.open(next.id);
    else this.app.say(t("case.only.left"));
  }

  /** Says that the case is done and goes on; asks first where nothing is marked. */
  async doneAndNext() {
    const { app } = this;
    const { study } = app;
    if (!study || this.busy) return;
    this.busy = true;
    try {
      await study.queue;
      await study.refresh();
      const marked = study.structures.some(({ voxels }) => voxels > 0);
      if (!marked && !(await app.ask(t("done.nothing")))) return;
      const answer = await study.setState("done");
      if (!answer) return;
      this.report();
      const name = study.details.name.split("/").at(-1);
      app.say(t("done.said", { name, file: answer.file }));
      byId("export-text").textContent = t("done.said", { name, file: answer.file });
      const next = this.unfinished();
      if (next) await app.open(next.id);
      else if (this.cases.length > 1) app.say(t("case.all.done"));
    } finally {
      this.busy = false;
    }
  }

  async notDone() {
    await this.app.study?.setState("started");
  }

  // What is shown -------------------------------------------------------------------------------------------------------

  show() {
    const { cases, app } = this;
    showCases(cases, app.study?.id, byId("case-filter").value, (id) => {
      // On a narrow page the list lies over the image.
      if (matchMedia("(max-width: 1000px)").matches) app.toggleCases(true);
      app.open(id);
    });
    const done = cases.filter(({ state }) => state === "done");
    const timed = done.filter(({ seconds }) => seconds > 0);
    byId("case-count").textContent = cases.length ? t("cases.done", { done: done.length, count: cases.length }) : "";
    const each = timed.reduce((sum, { seconds }) => sum + seconds, 0) / Math.max(timed.length, 1);
    const left = (cases.length - done.length) * each;
    const texts = each ? [t("cases.each", { time: duration(each) })] : [];
    if (left) texts.push(t("cases.left", { time: duration(left) }));
    byId("case-time").textContent = texts.join(" · ");
    byId("export-all").disabled = done.length === 0;
    for (const [id, on] of [
      ["previous", this.at > 0],
      ["next", this.at >= 0 && this.at < cases.length - 1],
      ["skip-case", this.at >= 0 && cases.length > 1],
    ])
      byId(id).disabled = !on;
  }

  // All cases -----------------------------------------------------------------------------------------------------------

  exportEvent({ done, of }) {
    if (this.exporting) byId("export-all-text").textContent = t("export.all.running", { done, of });
  }

  async exportAll() {
    const text = byId("export-all-text");
    if (this.exporting) return;
    this.exporting = true;
    try {
      await this.app.study?.queue;
      const { name, notes } = await download("/api/export");
      text.textContent = [t("export.saved", { name }), notes].filter(Boolean).join(". ");
    } catch (error) {
      text.textContent = error.message;
    } finally {
      this.exporting = false;
    }
  }
}
