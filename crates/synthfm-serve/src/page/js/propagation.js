// Propagation: begins, follows and stops a run over the slices.

import { call } from "./api.js";
import { byId } from "./panels.js";
import { known, t } from "./texts.js";

export class Propagation {
  constructor(app) {
    this.app = app;
    this.running = false;
    this.planned = null;
    this.carried = 0;
  }

  async start(direction) {
    const { study, active } = this.app;
    if (!study || study.details.planes[0].slices < 2) return;
    const { plane, index } = active;
    const count = Number.parseInt(byId("propagate-count").value, 10) || undefined;
    const text = byId("propagate-text");
    try {
      await study.queue;
      const body = { structure: study.current, plane, index, direction, count, window: study.window };
      this.show(true);
      Object.assign(this, { planned: null, carried: 0 });
      text.textContent = t("propagation.running");
      const { slices } = await call("POST", `/api/cases/${study.id}/propagate`, body);
      this.planned = slices;
    } catch (error) {
      this.show(false);
      text.textContent = "";
      this.app.problem({ message: error.message, code: error.code, at: { plane, index } });
    }
  }

  event(event) {
    const { study } = this.app;
    if (event.case !== study?.id) return;
    if (event.progress === "slice") {
      study.take(event);
      this.carried += 1;
      const { index } = event;
      const values = { index, n: this.carried, count: this.planned ?? "…" };
      byId("propagate-text").textContent = t("propagation.slice", values);
      if (this.app.active.plane === event.plane) this.app.active.turn(event.index);
    } else {
      this.show(false);
      const reason = known(`why.${event.why}`, event.reason, { slice: event.slice });
      const name = event.done === 1 ? "propagation.done.one" : "propagation.done";
      byId("propagate-text").textContent = t(name, { count: event.done, reason });
      study.refresh();
    }
  }

  /** Shows what a case says of a run; `expected` is whether one was under way, which a server that has ended does not end. */
  takeUp({ propagating }, expected) {
    this.show(propagating);
    const text = propagating ? "propagation.running" : "propagation.broken";
    byId("propagate-text").textContent = propagating || expected ? t(text) : "";
  }

  async stop() {
    if (this.running) await call("DELETE", `/api/cases/${this.app.study.id}/propagate`).catch(() => {});
  }

  show(on) {
    this.running = on;
    byId("propagate-stop").hidden = !on;
    byId("propagate-up").hidden = on;
    byId("propagate-down").hidden = on;
  }
}
