// Encoding: asked for when a slice is looked at, and how far it is.

import { call } from "./api.js";
import { byId } from "./panels.js";
import { t } from "./texts.js";

const LOOK_MS = 120;

export class Encoding {
  constructor(app) {
    this.app = app;
    this.timer = 0;
  }

  /** Has the slice encoded that is looked at for a moment. */
  soon(view) {
    clearTimeout(view.encodeTimer);
    const { study } = this.app;
    view.encodeTimer = setTimeout(
      async () => {
        if (view.study !== study || this.app.leaving) return;
        const { plane, index } = view;
        try {
          const body = {
            plane,
            index,
            window: study.window,
            ahead: this.app.shown().length > 1 ? [] : [index + 1, index - 1].filter((n) => n >= 0),
          };
          await call("POST", `/api/cases/${study.id}/encode`, body);
        } catch (error) {
          // A case that is being left is encoded no more.
          if (this.app.study === study && !this.app.leaving)
            this.app.problem({ message: error.message, code: error.code, at: { plane, index } });
        }
      },
      view.slice ? LOOK_MS : 0,
    );
  }

  event({ case: id, state, plane, index, expected_ms: expected, error }) {
    const looked = this.app.shown().some((view) => view.plane === plane && view.index === index);
    if (id !== this.app.study?.id || !looked) return;
    clearInterval(this.timer);
    const [box, bar] = [byId("encoding"), byId("encoding-bar")];
    if (state === "running") {
      const started = performance.now();
      byId("encoding-text").textContent = t("encoding");
      const turn = () => {
        const share = (performance.now() - started) / Math.max(expected, 1);
        bar.value = 100 * (share < 0.9 ? share : 1 - 0.1 * Math.exp(0.9 - share));
      };
      box.hidden = false;
      turn();
      this.timer = setInterval(turn, 60);
    } else {
      if (state === "failed") this.app.problem({ message: error, at: { plane, index } });
      bar.value = 100;
      byId("encoding-text").textContent = t(state === "failed" ? "encoding.failed" : "encoding.ready");
      this.timer = setTimeout(() => {
        box.hidden = true;
      }, 800);
    }
  }
}
