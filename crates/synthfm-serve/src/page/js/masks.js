// Masks: runs of the server to pixels and back, outlines, strokes of a brush.

/** Runs (background first) to one byte per pixel. */
export function decode(runs, count) {
  const mask = new Uint8Array(count);
  let at = 0;
  for (let n = 0; n < runs.length; n += 1) {
    if (n % 2 === 1) mask.fill(1, at, at + runs[n]);
    at += runs[n];
  }
  return mask;
}

/** One byte per pixel to runs. */
export function encode(mask) {
  const runs = [];
  let value = 0;
  let length = 0;
  for (const pixel of mask) {
    if (pixel !== value) {
      runs.push(length);
      value = pixel;
      length = 0;
    }
    length += 1;
  }
  runs.push(length);
  return runs;
}

/** Rows and columns that hold all of a mask: [top, left, bottom, right], the latter two not included. */
function bounds(mask, width, height) {
  let [top, left, bottom, right] = [height, width, 0, 0];
  for (let row = 0; row < height; row += 1) {
    const first = mask.indexOf(1, row * width);
    if (first < 0) break;
    // Rows without anything are skipped at once.
    row = Math.floor(first / width);
    const line = mask.subarray(row * width, (row + 1) * width);
    top = Math.min(top, row);
    bottom = row + 1;
    left = Math.min(left, line.indexOf(1));
    right = Math.max(right, line.lastIndexOf(1) + 1);
  }
  return [top, left, bottom, right];
}

/** The borders between inside and outside as one path in pixels: (0, 0) is the corner of the first pixel. */
export function outline(mask, width, height) {
  const path = new Path2D();
  const [top, left, bottom, right] = bounds(mask, width, height);
  const at = (row, col) => row >= top && row < bottom && col >= left && col < right && mask[row * width + col] === 1;
  // Edges between rows, joined along the row; then those between columns.
  for (let row = top; row <= bottom; row += 1) {
    let start = -1;
    for (let col = left; col <= right; col += 1) {
      const edge = at(row - 1, col) !== at(row, col);
      if (edge && start < 0) start = col;
      if (!edge && start >= 0) {
        path.moveTo(start, row);
        path.lineTo(col, row);
        start = -1;
      }
    }
  }
  for (let col = left; col <= right; col += 1) {
    let start = -1;
    for (let row = top; row <= bottom; row += 1) {
      const edge = at(row, col - 1) !== at(row, col);
      if (edge && start < 0) start = row;
      if (!edge && start >= 0) {
        path.moveTo(col, start);
        path.lineTo(col, row);
        start = -1;
      }
    }
  }
  return path;
}

/** A mask of one structure on a slice, with what is drawn of it. */
export class SliceMask {
  constructor(runs, width, height) {
    this.width = width;
    this.height = height;
    this.pixels = decode(runs, width * height);
    this.empty = runs.length < 2;
    this.cachedOutline = null;
    this.cachedPicture = null;
  }

  get outline() {
    this.cachedOutline ??= outline(this.pixels, this.width, this.height);
    return this.cachedOutline;
  }

  /** A canvas with the inside in a colour. */
  picture(colour) {
    if (this.cachedPicture?.colour === colour) return this.cachedPicture.canvas;
    const canvas = new OffscreenCanvas(this.width, this.height);
    const context = canvas.getContext("2d");
    const data = context.createImageData(this.width, this.height);
    const words = new Uint32Array(data.data.buffer);
    const [r, g, b] = rgb(colour);
    const inside = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    for (let n = 0; n < words.length; n += 1) if (this.pixels[n]) words[n] = inside;
    context.putImageData(data, 0, 0);
    this.cachedPicture = { colour, canvas };
    return canvas;
  }

  /** Pixels were changed in place. */
  touched() {
    this.cachedOutline = null;
    this.cachedPicture = null;
    this.empty = !this.pixels.includes(1);
  }

  has(x, y) {
    const [col, row] = [Math.round(x), Math.round(y)];
    return col >= 0 && row >= 0 && col < this.width && row < this.height && this.pixels[row * this.width + col] === 1;
  }
}

/** [r, g, b] of #rrggbb. */
export function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

/** Sets the pixels within `radius` of the segment from `a` to `b` ([x, y] at pixel centres) to 1. */
export function stroke(pixels, width, height, a, b, radius) {
  const [left, right] = [Math.min(a[0], b[0]) - radius, Math.max(a[0], b[0]) + radius];
  const [top, bottom] = [Math.min(a[1], b[1]) - radius, Math.max(a[1], b[1]) + radius];
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  for (let y = Math.max(0, Math.ceil(top)); y <= Math.min(height - 1, Math.floor(bottom)); y += 1) {
    for (let x = Math.max(0, Math.ceil(left)); x <= Math.min(width - 1, Math.floor(right)); x += 1) {
      const along = length > 0 ? Math.max(0, Math.min(1, ((x - a[0]) * dx + (y - a[1]) * dy) / length)) : 0;
      const [ox, oy] = [x - a[0] - along * dx, y - a[1] - along * dy];
      if (ox * ox + oy * oy <= radius * radius) pixels[y * width + x] = 1;
    }
  }
}

/** Points along a line, about `spacing` apart and at most `most`, without its ends where it is long. */
export function sample(line, spacing, most) {
  let length = 0;
  const at = line.map((point, n) => {
    if (n > 0) length += Math.hypot(point[0] - line[n - 1][0], point[1] - line[n - 1][1]);
    return length;
  });
  const count = Math.max(1, Math.min(most, Math.round(length / spacing)));
  const points = [];
  let segment = 1;
  for (let n = 0; n < count; n += 1) {
    const wanted = ((n + 0.5) / count) * length;
    while (segment < line.length - 1 && at[segment] < wanted) segment += 1;
    if (line.length === 1) return [line[0]];
    const span = at[segment] - at[segment - 1];
    const share = span > 0 ? (wanted - at[segment - 1]) / span : 0;
    const [p, q] = [line[segment - 1], line[segment]];
    points.push([p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])]);
  }
  return points;
}
