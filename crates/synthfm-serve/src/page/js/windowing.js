// Window and level: by drag, by name, by numbers.

import { byId } from "./panels.js";

export class Windowing {
  constructor(app) {
    this.app = app;
  }

  /** A drag of the right button: across for width, down for level. */
  drag(dx, dy, finished) {
    if (!this.app.study) return;
    const [low, high] = this.app.study.window;
    const base = this.app.study.details.window;
    const speed = Math.max((base[1] - base[0]) / 300, (high - low) / 400);
    const width = Math.max(high - low + dx * speed, speed / 8, Number.EPSILON);
    const level = (low + high) / 2 + dy * speed;
    this.set(width, level, "own", finished);
  }

  set(width, level, preset, finished = true) {
    const limits = [level - width / 2, level + width / 2].map(Math.fround);
    if (!(Number.isFinite(limits[0]) && Number.isFinite(limits[1]) && limits[0] < limits[1])) return;
    this.app.study.window = limits;
    this.show(preset);
    this.app.changed();
    if (finished) for (const view of this.app.shown()) this.app.encoding.soon(view);
  }

  choose(name) {
    const { details } = this.app.study;
    const preset = this.app.info.windows.find((w) => w.name === name);
    if (preset) this.set(preset.width, preset.level, name);
    else if (name === "range") {
      const { offset, step } = details.scale;
      let high = offset + step;
      for (const view of this.app.shown()) {
        for (const value of view.slice?.values ?? []) high = Math.max(high, offset + step * value);
      }
      this.set(high - offset, (high + offset) / 2, name);
    } else {
      const [low, high] = details.window;
      this.app.study.window = [low, high];
      this.show("image");
      this.app.changed();
      for (const view of this.app.shown()) this.app.encoding.soon(view);
    }
  }

  show(preset) {
    const [low, high] = this.app.study.window;
    const short = (value) => Number(value.toPrecision(5));
    byId("window-preset").value = preset;
    byId("window-width").value = short(high - low);
    byId("window-level").value = short((low + high) / 2);
    byId("window-text").textContent = `W ${short(high - low)}  L ${short((low + high) / 2)}`;
  }
}
