// Window and level: by drag, by name, by numbers; what was chosen stays for the next cases of the same kind.

import { byId } from "./panels.js";
import { t } from "./texts.js";

const KEPT_KEY = "synthfm-windows";

export class Windowing {
  constructor(app) {
    this.app = app;
    this.preset = "auto";
    this.kept = JSON.parse(localStorage.getItem(KEPT_KEY) ?? "{}");
  }

  get details() {
    return this.app.study.details;
  }

  /** Images of one kind share a window: volumes in Hounsfield units, else those of one modality. */
  get kind() {
    const { modality, picture, colour } = this.details;
    if (this.isCt) return "HU volume";
    return [modality?.toUpperCase() ?? "", picture ? "picture" : "volume", colour ? "colour" : "grey"].join(" ");
  }

  /** Whether it is a volume in Hounsfield units, as its file, its data set or its values say. */
  get isCt() {
    return this.details.hounsfield && !this.details.picture;
  }

  /** Hounsfield units mean the same in every case; other values only by what is automatic. */
  get base() {
    const [low, high] = this.details.window;
    return this.isCt ? [0, 1] : [low, high];
  }

  /** The names that an image can be shown by: radiology's windows for volumes in Hounsfield units. */
  presets() {
    const { colour, own_window: own } = this.details;
    const names = own ? ["own"] : ["auto"];
    if (!colour) names.push("range");
    const named = this.isCt ? this.app.info.windows.map(({ name }) => name) : [];
    return [...names, ...named, "hand"];
  }

  /** Begins with a case: its window is what was chosen last for its kind. */
  begin() {
    const names = this.presets();
    const label = (name) => {
      const known = this.app.info.windows.find((window) => window.name === name);
      return known ? `${t(`window.${name}`)} ${known.width}/${known.level}` : t(`window.${name}`);
    };
    byId("window-preset").replaceChildren(...names.map((name) => new Option(label(name), name)));
    const kept = this.kept[this.kind];
    if (kept?.preset === "hand") {
      const [low, high] = this.base;
      this.app.study.window = kept.window.map((share) => Math.fround(low + share * (high - low)));
      this.preset = "hand";
    } else {
      this.choose(names.includes(kept?.preset) ? kept.preset : names[0], false);
    }
    this.show();
  }

  keep() {
    const [low, high] = this.base;
    const window = this.app.study.window.map((value) => (value - low) / (high - low));
    this.kept[this.kind] = { preset: this.preset, window };
    localStorage.setItem(KEPT_KEY, JSON.stringify(this.kept));
  }

  /** A drag of the right button: across for width, down for level. */
  drag(dx, dy, finished) {
    if (!this.app.study) return;
    const [low, high] = this.app.study.window;
    const base = this.details.window;
    const speed = Math.max((base[1] - base[0]) / 300, (high - low) / 400);
    const width = Math.max(high - low + dx * speed, speed / 8, Number.EPSILON);
    this.set(width, (low + high) / 2 + dy * speed, finished);
  }

  /** A window by hand. */
  set(width, level, finished = true) {
    this.apply(level - width / 2, level + width / 2, "hand", finished);
  }

  choose(name, finished = true) {
    const { window, scale } = this.details;
    const preset = this.app.info.windows.find((w) => w.name === name);
    if (preset) this.apply(preset.level - preset.width / 2, preset.level + preset.width / 2, name, finished);
    else if (name === "range") this.apply(scale.offset, Math.max(scale.high, scale.offset + scale.step), name, finished);
    else if (name === "hand") this.apply(...this.app.study.window, name, finished);
    else this.apply(...window, name, finished);
  }

  apply(low, high, preset, finished) {
    const limits = [low, high].map(Math.fround);
    if (!(limits.every(Number.isFinite) && limits[0] < limits[1])) {
      // The fields say again what is shown.
      this.show();
      return;
    }
    this.app.study.window = limits;
    this.preset = preset;
    this.show();
    this.app.changed();
    if (!finished) return;
    this.keep();
    for (const view of this.app.shown()) this.app.encoding.soon(view);
  }

  show() {
    const [low, high] = this.app.study.window;
    const own = this.preset === "own" ? this.details.own_numbers : null;
    const [width, level] = (own ?? [high - low, (low + high) / 2]).map((value) => Number(value.toPrecision(5)));
    byId("window-preset").value = this.preset;
    byId("window-width").value = width;
    byId("window-level").value = level;
    byId("window-text").textContent = `W ${width}  L ${level}`;
  }
}
