// The tools: what the pointer does to the current structure on a slice.

import { sample, stroke } from "./masks.js";
import { contains, lengthOf } from "./place.js";
import { emptyPrompts } from "./study.js";
import { number, t } from "./texts.js";

/** Points that one scribble gives, and their distance on the screen. */
const SCRIBBLE_POINTS = 6;
const SCRIBBLE_SPACING_PX = 40;

export const TOOLS = [
  { id: "point", key: "P" },
  { id: "box", key: "B" },
  { id: "scribble", key: "S" },
  { id: "brush", key: "D" },
  { id: "eraser", key: "X" },
  { id: "ruler", key: "L" },
  { id: "hand", key: "M" },
];

/** What a person is doing with a tool on one view. */
export class Tool {
  constructor(view) {
    this.view = view;
    this.doing = null;
  }

  get settings() {
    return this.view.settings;
  }

  /** Prompts of the current structure on a slice, as a copy to change. */
  prompts({ study, plane, index }) {
    return structuredClone(study.entry(plane, index)?.prompts ?? emptyPrompts());
  }

  begin(at, { negative, time }) {
    const { tool } = this.settings;
    const positive = negative ? !this.settings.positive : this.settings.positive;
    this.doing = { tool, positive, from: at, line: [at], time };
    if (negative && ["box", "hand", "ruler"].includes(tool)) this.doing.tool = "point";
    if (this.paints()) this.startPainting(negative);
    this.move(at);
  }

  paints() {
    return this.doing?.tool === "brush" || this.doing?.tool === "eraser";
  }

  startPainting(negative) {
    const { width, height } = this.view.planeInfo;
    const erase = (this.doing.tool === "eraser") !== negative;
    Object.assign(this.doing, { erase, covered: new Uint8Array(width * height) });
    this.doing.canvas = new OffscreenCanvas(width, height);
    this.doing.paint = this.doing.canvas.getContext("2d");
  }

  move(at) {
    const { doing } = this;
    if (!doing) return;
    if (doing.tool === "hand") return;
    const before = doing.line.at(-1);
    if (this.paints()) {
      const { width, height } = this.view.planeInfo;
      stroke(doing.covered, width, height, before, at, this.settings.brush);
      this.showStroke(before, at);
    }
    doing.line.push(at);
    this.view.repaint();
  }

  /** The stroke so far, painted with the canvas's own lines until the exact pixels are the server's. */
  showStroke(from, to) {
    const { paint } = this.doing;
    paint.strokeStyle = this.doing.erase ? "#ff5a5a" : (this.view.study.structure()?.colour ?? "#fff");
    paint.lineWidth = Math.max(1, 2 * this.settings.brush);
    paint.lineCap = "round";
    paint.beginPath();
    paint.moveTo(from[0] + 0.5, from[1] + 0.5);
    paint.lineTo(to[0] + 0.5, to[1] + 0.5);
    paint.stroke();
  }

  cancel() {
    this.doing = null;
    this.view.repaint();
  }

  /** Ends what is being drawn where the pointer was last, and keeps it. */
  finish() {
    if (!this.doing) return;
    if (this.paints() || this.doing.tool === "scribble") this.end(this.doing.line.at(-1), this.doing.time);
    else this.cancel();
  }

  async end(at, time) {
    const { doing } = this;
    this.doing = null;
    if (!doing) return;
    if (doing.tool === "ruler") {
      this.measure(doing.from, at);
      return;
    }
    // The view may go on to another slice meanwhile.
    const { study, plane, index } = this.view;
    const on = { study, plane, index };
    // What was marked here before must be known first.
    await study.working(async () => {
      const place = study.place(plane, index);
      if (!place.loaded) await place.ready;
    });
    if (doing.tool === "point") this.click(at, doing.positive, time, on);
    else if (doing.tool === "box") this.box(doing.from, at, time, on);
    else if (doing.tool === "scribble") this.scribble(doing.line, doing.positive, time, on);
    else if (doing.covered?.includes(1)) this.finishPainting(study, plane, index, doing);
    this.view.repaint();
  }

  /** Leaves the ruler on the slice; a click takes it away. */
  measure(from, to) {
    const { view } = this;
    const ruler = this.ruler(from, to);
    view.ruler = ruler.length > 0 ? { ...ruler, plane: view.plane, index: view.index } : null;
    view.repaint();
  }

  ruler(from, to) {
    const { planeInfo, study } = this.view;
    const length = lengthOf(planeInfo, from, to);
    return { from, to, length, text: `${number(length, 1)} ${study.details.in_mm ? "mm" : "px"}` };
  }

  click(at, positive, time, on = this.view) {
    const { study, plane, index } = on;
    if (!contains(study.plane(plane), at)) return;
    const prompts = this.prompts(on);
    prompts.points.push(rounded(at));
    prompts.labels.push(positive ? 1 : 0);
    study.predict(plane, index, prompts, positive ? "click" : "negative_click", time);
  }

  box(a, b, time, on) {
    const { study, plane, index } = on;
    const planeInfo = study.plane(plane);
    const inside = ([x, y]) => [
      Math.max(0, Math.min(planeInfo.width - 1, x)),
      Math.max(0, Math.min(planeInfo.height - 1, y)),
    ];
    const [p, q] = [inside(a), inside(b)];
    const box = [Math.min(p[0], q[0]), Math.min(p[1], q[1]), Math.max(p[0], q[0]), Math.max(p[1], q[1])].map(round);
    if (box[2] - box[0] < 2 || box[3] - box[1] < 2) {
      this.view.complain(t("view.box.small"), b);
      return;
    }
    const prompts = this.prompts(on);
    prompts.box = box;
    study.predict(plane, index, prompts, "box", time);
  }

  scribble(line, positive, time, on) {
    const { study, plane, index } = on;
    const inside = line.filter((point) => contains(study.plane(plane), point));
    if (inside.length === 0) return;
    const prompts = this.prompts(on);
    for (const point of sample(inside, SCRIBBLE_SPACING_PX / this.view.pixelsPerPixel(), SCRIBBLE_POINTS)) {
      prompts.points.push(rounded(point));
      prompts.labels.push(positive ? 1 : 0);
    }
    study.predict(plane, index, prompts, "scribble", time);
  }

  finishPainting(study, plane, index, { covered, erase }) {
    if (study.current === null) {
      this.view.complain(t("structure.none"), null);
      return;
    }
    // Shown at once; the server's answer takes its place.
    const place = study.place(plane, index);
    const entry = place.entries.get(study.current) ?? { mask: study.emptyMask(plane), prompts: emptyPrompts() };
    for (let n = 0; n < covered.length; n += 1) if (covered[n]) entry.mask.pixels[n] = erase ? 0 : 1;
    entry.mask.touched();
    place.entries.set(study.current, entry);
    study.edit(plane, index, erase ? "remove" : "add", covered);
  }

  /** What is drawn of it. */
  scene() {
    const { doing, settings, view } = this;
    const brushes = settings.tool === "brush" || settings.tool === "eraser";
    const brush = brushes && view.hovered ? { at: view.hovered, radius: settings.brush } : null;
    const colour = settings.tool === "eraser" ? "#ff5a5a" : (view.study?.structure()?.colour ?? "#fff");
    if (!doing) return brush ? { brush, colour } : null;
    if (doing.tool === "box") {
      const [a, b] = [doing.from, doing.line.at(-1)];
      return { box: [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])] };
    }
    if (doing.tool === "ruler") return { ruler: this.ruler(doing.from, doing.line.at(-1)) };
    if (doing.tool === "scribble") return { line: doing.line, positive: doing.positive };
    return { covered: doing.canvas, brush: brush && { ...brush, at: doing.line.at(-1) }, colour };
  }
}

function round(value) {
  return Math.round(value * 100) / 100;
}

function rounded(point) {
  return point.map(round);
}
