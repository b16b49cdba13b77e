// One view of the study: a canvas that shows a slice of a plane, with zoom, pan and the tools.

import { paint } from "./canvas.js";
import { paintMarks } from "./volume.js";
import { Gestures } from "./gestures.js";
import { contains } from "./place.js";
import { Tool } from "./tools.js";

const GUIDES = { axial: "#ff6b6b", coronal: "#5ad17a", sagittal: "#ffd84d" };
const MAX_ZOOM = 40;
/** Time in which a zoom covers most of its way. */
const ZOOM_MS = 60;

export class View {
  /** `owner` gives `settings` and is told `moved(view, at)`, `scrolled(view)`. */
  constructor(element, owner) {
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.owner = owner;
    this.study = null;
    this.plane = "axial";
    this.index = 0;
    this.zoom = 1;
    this.pan = [0, 0];
    this.hovered = null;
    this.cursor = null;
    this.ruler = null;
    this.zooming = null;
    this.slice = null;
    this.wanted = 0;
    this.begun = null;
    this.tool = new Tool(this);
    this.scheduled = false;
    new Gestures(this.canvas, this.gestures(), {
      panning: () => owner.settings.tool === "hand" || owner.spaceHeld,
      scrolls: () => this.study && this.planeInfo.slices > 1,
    });
    new ResizeObserver(() => this.resize()).observe(element);
  }

  get settings() {
    return this.owner.settings;
  }

  get planeInfo() {
    return this.study.plane(this.plane);
  }

  gestures() {
    const pixel = (at) => this.pixelAt(at);
    return {
      begin: (at, how) => {
        if (!this.slice) return;
        this.owner.activate(this);
        this.tool.begin(pixel(at), how);
      },
      move: (at) => {
        this.hovered = pixel(at);
        this.tool.move(this.hovered);
      },
      end: (at, time) => this.tool.end(pixel(at), time),
      cancel: () => this.tool.cancel(),
      hover: (at, event) => {
        if (!this.slice) return;
        this.hovered = pixel(at);
        this.owner.moved(this, this.hovered, event);
        if (this.settings.preview && this.settings.tool === "point" && event.pointerType !== "touch") {
          const inside = this.contains(this.hovered) ? this.hovered : null;
          this.study.preview(this.plane, this.index, inside);
        }
        if (this.tool.scene() || this.settings.magnifier) this.repaint();
      },
      leave: () => {
        this.hovered = null;
        this.study?.preview(this.plane, this.index, null);
        this.owner.moved(this, null);
        this.repaint();
      },
      pan: (dx, dy) => this.panBy(dx, dy),
      zoom: (factor, at) => this.zoomBy(factor, at),
      glide: (factor, at) => this.glideBy(factor, at),
      windowing: (dx, dy, finished) => this.owner.windowing.drag(dx, dy, finished),
      scroll: (steps) => this.scrollBy(steps),
    };
  }

  /** Shows a slice of a plane of a study, the middle one by default. */
  show(study, plane, index) {
    this.study = study;
    this.plane = plane;
    this.slice = null;
    this.cursor = null;
    this.ruler = null;
    this.tool.doing = null;
    this.fit();
    this.turn(index ?? Math.floor((this.planeInfo.slices - 1) / 2));
  }

  /** Shows a slice of the view's plane. */
  async turn(index) {
    const { study, plane } = this;
    this.index = Math.max(0, Math.min(this.planeInfo.slices - 1, index));
    study.seen.set(plane, this.index);
    this.wanted += 1;
    const wanted = this.wanted;
    study.place(plane, this.index);
    this.owner.scrolled(this);
    try {
      const slice = await study.slices.get(plane, this.index);
      if (wanted !== this.wanted) return;
      this.slice = slice;
      this.message(null);
      this.repaint();
    } catch (error) {
      if (wanted === this.wanted) this.message(error.message);
    }
    for (const next of [this.index + 1, this.index - 1]) {
      if (next >= 0 && next < this.planeInfo.slices) study.slices.get(plane, next).catch(() => {});
    }
  }

  scrollBy(steps) {
    this.turn(this.index + steps);
  }

  // Place on the screen -----------------------------------------------------------------------------------------------

  resize() {
    this.repaint();
  }

  /** The size of a pixel relative to the smaller spacing. */
  aspect() {
    const [rows, cols] = this.planeInfo.spacing_mm;
    const least = Math.min(rows, cols);
    return { x: cols / least, y: rows / least };
  }

  frame() {
    const { width, height } = this.canvas;
    const { width: columns, height: rows } = this.planeInfo;
    const { x, y } = this.aspect();
    const fit = Math.min(width / (columns * x), height / (rows * y)) * 0.97;
    const [sx, sy] = [fit * this.zoom * x, fit * this.zoom * y];
    const ratio = devicePixelRatio;
    const left = (width - columns * sx) / 2 + this.pan[0] * ratio;
    const top = (height - rows * sy) / 2 + this.pan[1] * ratio;
    return { left, top, sx, sy, width: columns, height: rows };
  }

  /** Screen pixels of CSS per pixel of the image. */
  pixelsPerPixel() {
    const { sx, sy } = this.frame();
    return Math.min(sx, sy) / devicePixelRatio;
  }

  pixelAt([x, y]) {
    const { left, top, sx, sy } = this.frame();
    const ratio = devicePixelRatio;
    return [(x * ratio - left) / sx - 0.5, (y * ratio - top) / sy - 0.5];
  }

  contains(at) {
    return contains(this.planeInfo, at);
  }

  /** Moves the keyboard's cursor, which begins in the middle, by about six pixels of the screen. */
  moveCursor(dx, dy) {
    const { width, height } = this.planeInfo;
    const step = Math.max(1, Math.round(6 / this.pixelsPerPixel()));
    const [x, y] = this.cursor ?? [width / 2, height / 2].map(Math.floor);
    const within = (value, size) => Math.max(0, Math.min(size - 1, value));
    this.cursor = [within(x + dx * step, width), within(y + dy * step, height)];
    this.owner.moved(this, this.cursor);
    this.repaint();
  }

  fit() {
    this.zooming = null;
    this.zoom = 1;
    this.pan = [0, 0];
    this.repaint();
  }

  panBy(dx, dy) {
    this.pan = [this.pan[0] + dx, this.pan[1] + dy];
    this.repaint();
  }

  /** Zooms smoothly; further steps add up. */
  glideBy(factor, at) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.zoomBy(factor, at);
      return;
    }
    const begins = this.zooming === null;
    this.zooming = { left: (this.zooming?.left ?? 1) * factor, at, time: this.zooming?.time ?? performance.now() };
    if (begins) requestAnimationFrame((now) => this.glide(now));
  }

  glide(now) {
    if (!this.zooming) return;
    const { left, at, time } = this.zooming;
    const share = 1 - Math.exp(-Math.max(now - time, 8) / ZOOM_MS);
    const near = Math.abs(Math.log(left)) < 0.004;
    const step = near ? left : left ** share;
    this.zoomBy(step, at);
    this.zooming = near ? null : { left: left / step, at, time: now };
    if (!near) requestAnimationFrame((next) => this.glide(next));
  }

  /** Zooms so that what lies at `at` stays there. */
  zoomBy(factor, at) {
    if (!this.study) return;
    const { clientWidth, clientHeight } = this.canvas;
    const [x, y] = at ?? [clientWidth / 2, clientHeight / 2];
    const zoom = Math.max(0.3, Math.min(MAX_ZOOM, this.zoom * factor));
    const real = zoom / this.zoom;
    const [cx, cy] = [x - clientWidth / 2 - this.pan[0], y - clientHeight / 2 - this.pan[1]];
    this.pan = [this.pan[0] + cx * (1 - real), this.pan[1] + cy * (1 - real)];
    this.zoom = zoom;
    this.repaint();
  }

  // Painting ----------------------------------------------------------------------------------------------------------

  /** Paints soon; `begun` is when the person acted whose answer is painted. */
  repaint(begun) {
    if (begun !== undefined) this.begun = begun;
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.paint();
      if (this.begun !== null) {
        // For measurements: from the person's act to the painted mask.
        performance.measure("act-to-mask", { start: this.begun, end: performance.now() });
        this.begun = null;
      }
    });
  }

  paint() {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) =>
      Math.round(side * devicePixelRatio),
    );
    if (width === 0 || height === 0) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (!this.study) {
      paint(this.context, null, { picture: null });
      return;
    }
    paint(this.context, this.frame(), this.scene());
    paintMarks(this);
  }

  scene() {
    const { study, plane, index, settings } = this;
    const { entries } = study.place(plane, index);
    const shown = study.structures.filter(({ id }) => !study.hidden.has(id) && entries.get(id)?.mask.empty === false);
    const masks = shown.map(({ id, colour }) => ({
      mask: entries.get(id).mask,
      colour,
      current: id === study.current,
    }));
    // The current structure lies on top.
    masks.sort((a, b) => a.current - b.current);
    const pointer = this.tool.scene();
    return {
      picture: this.slice?.picture(study.window),
      masks,
      opacity: settings.opacity,
      outlines: settings.outlines,
      reference: study.reference(plane, index),
      prompts: study.hidden.has(study.current) || !settings.marks ? null : entries.get(study.current)?.prompts,
      pointer,
      cursor: this.cursor,
      ruler: pointer?.ruler ?? this.shownRuler(),
      magnified: settings.magnifier && this.hovered && this.contains(this.hovered) ? this.hovered : null,
      preview: this.previewMask(),
      lines: this.owner.guides(this).map((line) => ({ ...line, colour: GUIDES[line.plane] })),
      ratio: devicePixelRatio,
    };
  }

  shownRuler() {
    const { ruler, plane, index } = this;
    return ruler?.plane === plane && ruler?.index === index ? ruler : null;
  }

  previewMask() {
    const { plane, index, mask } = this.study.previewMask ?? {};
    return plane === this.plane && index === this.index ? mask : null;
  }

  /** Words over the view, or none. */
  message(text) {
    const element = this.element.querySelector(".view-message");
    element.textContent = text ?? "";
    element.hidden = !text;
  }

  /** Words beside the place that they are about. */
  complain(text, at) {
    this.owner.complain(text, this, at);
  }

  /** CSS position of a pixel within the view. */
  screenOf([x, y]) {
    const { left, top, sx, sy } = this.frame();
    return [(left + sx * (x + 0.5)) / devicePixelRatio, (top + sy * (y + 0.5)) / devicePixelRatio];
  }
}
