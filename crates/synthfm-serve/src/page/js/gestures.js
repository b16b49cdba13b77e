// Pointers on a view, as gestures: one finger or the left button works with the tool, two fingers pan and zoom, the
// middle button (or space) pans, the right button windows when dragged and is a negative click when not.

const DRAG_PX = 4;

/**
 * Calls `on.begin(at, how)`, `on.move(at)`, `on.end(at)`, `on.cancel()` for the tool, and `on.hover(at, event)`,
 * `on.leave()`, `on.pan(dx, dy)`, `on.zoom(factor, at)` (at once), `on.glide(factor, at)` (smoothly),
 * `on.windowing(dx, dy, finished)`, `on.scroll(steps)`. Positions are CSS pixels of the canvas; `how` is { negative, time }.
 */
export class Gestures {
  constructor(canvas, on, options) {
    this.canvas = canvas;
    this.on = on;
    this.options = options;
    this.pointers = new Map();
    this.mode = null;
    this.wheel = 0;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.drop(event));
    canvas.addEventListener("pointerleave", () => on.leave());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.turn(event), { passive: false });
  }

  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  down(event) {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.start = this.at(event);
    if (this.pointers.size === 2) {
      if (this.mode === "tool") this.on.cancel();
      this.mode = "pinch";
      this.pinch = this.spread();
    } else if (this.pointers.size === 1) {
      this.mode = this.modeOf(event);
      if (this.mode === "tool") {
        this.on.begin(this.start, { negative: event.ctrlKey || event.altKey || event.metaKey, time: event.timeStamp });
      }
    }
  }

  modeOf(event) {
    if (event.button === 1 || this.options.panning()) return "pan";
    if (event.button === 2) return "right";
    return "tool";
  }

  move(event) {
    const at = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.on.hover(at, event);
      return;
    }
    this.pointers.set(event.pointerId, at);
    const [dx, dy] = [at[0] - before[0], at[1] - before[1]];
    if (this.mode === "tool") {
      for (const part of event.getCoalescedEvents?.() ?? []) this.on.move(this.at(part));
      this.on.move(at);
    } else if (this.mode === "pan") {
      this.on.pan(dx, dy);
    } else if (this.mode === "pinch") {
      this.pinching();
    } else if (this.mode === "windowing") {
      this.on.windowing(dx, dy, false);
    } else if (this.mode === "right" && Math.hypot(at[0] - this.start[0], at[1] - this.start[1]) > DRAG_PX) {
      this.mode = "windowing";
      this.on.windowing(at[0] - this.start[0], at[1] - this.start[1], false);
    }
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const at = this.at(event);
    if (this.mode === "tool") {
      this.on.end(at, event.timeStamp);
    } else if (this.mode === "right") {
      this.on.begin(at, { negative: true, time: event.timeStamp });
      this.on.end(at, event.timeStamp);
    } else if (this.mode === "windowing") {
      this.on.windowing(0, 0, true);
    }
    // The second finger of a pinch still moves; it is no stroke.
    if (this.pointers.size === 0) this.mode = null;
    else this.mode = "spent";
  }

  drop(event) {
    this.pointers.delete(event.pointerId);
    if (this.mode === "tool") this.on.cancel();
    this.mode = null;
  }

  spread() {
    const [a, b] = [...this.pointers.values()];
    return { distance: Math.hypot(a[0] - b[0], a[1] - b[1]), middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] };
  }

  pinching() {
    const before = this.pinch;
    this.pinch = this.spread();
    this.on.pan(this.pinch.middle[0] - before.middle[0], this.pinch.middle[1] - before.middle[1]);
    if (before.distance > 0) this.on.zoom(this.pinch.distance / before.distance, this.pinch.middle);
  }

  turn(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : 1);
    if (event.ctrlKey || event.metaKey || !this.options.scrolls()) {
      this.on.glide(Math.exp(-pixels / 400), this.at(event));
      return;
    }
    // A notch of a wheel is one slice; a trackpad's small steps add up.
    this.wheel += pixels;
    const steps = Math.abs(pixels) >= 50 ? Math.sign(pixels) : Math.trunc(this.wheel / 40);
    if (steps !== 0) {
      this.wheel = 0;
      this.on.scroll(steps);
    }
  }
}
