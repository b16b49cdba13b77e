// Intensities of slices: fetched, kept, and turned into pictures through a window.

import { bytes } from "./api.js";

const KEPT = 48;

/** The slices of one case. */
export class Slices {
  constructor(details) {
    this.details = details;
    this.kept = new Map();
  }

  /** A slice, from memory or the server; the promise is the same for all who wait. */
  get(plane, index) {
    const key = `${plane}/${index}`;
    let slice = this.kept.get(key);
    if (slice) {
      this.kept.delete(key);
      this.kept.set(key, slice);
      return slice;
    }
    slice = this.fetch(plane, index);
    slice.catch(() => this.kept.delete(key));
    this.kept.set(key, slice);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    return slice;
  }

  async fetch(plane, index) {
    const { id, planes, colour } = this.details;
    const { width, height } = planes.find((p) => p.name === plane);
    const data = await bytes(`/api/cases/${id}/slice?plane=${plane}&index=${index}`);
    const values = colour ? new Uint8Array(data) : new Uint16Array(data);
    return new SlicePicture(values, width, height, colour, this.details.scale);
  }
}

/** One slice and its picture through the latest window. */
class SlicePicture {
  constructor(values, width, height, colour, scale) {
    Object.assign(this, { values, width, height, colour, scale });
    this.canvas = new OffscreenCanvas(width, height);
    this.window = null;
  }

  /** The intensity at a pixel, or [r, g, b]. */
  at(col, row) {
    const n = row * this.width + col;
    if (this.colour) return [...this.values.slice(3 * n, 3 * n + 3)];
    return this.scale.offset + this.scale.step * this.values[n];
  }

  /** A canvas that shows `low` as black and `high` as white. */
  picture([low, high]) {
    if (this.window?.[0] === low && this.window?.[1] === high) return this.canvas;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(this.width, this.height);
    if (this.colour) this.paintColour(image.data, low, high);
    else this.paintGrey(new Uint32Array(image.data.buffer), low, high);
    context.putImageData(image, 0, 0);
    this.window = [low, high];
    return this.canvas;
  }

  paintGrey(words, low, high) {
    const { offset, step } = this.scale;
    // grey = (offset + step q - low) 255 / (high - low)
    const factor = (step * 255) / (high - low);
    const base = ((offset - low) * 255) / (high - low);
    for (let n = 0; n < words.length; n += 1) {
      const grey = Math.max(0, Math.min(255, Math.round(base + factor * this.values[n])));
      words[n] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }

  paintColour(data, low, high) {
    const factor = 255 / (high - low);
    for (let n = 0, at = 0; n < this.values.length; n += 1, at += 1) {
      data[at] = (this.values[n] - low) * factor;
      if (n % 3 === 2) {
        at += 1;
        data[at] = 255;
      }
    }
  }
}
