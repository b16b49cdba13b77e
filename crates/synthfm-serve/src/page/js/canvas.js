// What a view shows: the slice, masks, outlines, prompts, and what the pointer is doing.

const POSITIVE = "#3ddc84";
const NEGATIVE = "#ff5a5a";
const BOX = "#ffffff";
/** The magnifier: how much larger, and its radius. */
const LENS = 3;
const LENS_PX = 90;

/** Paints one view. `frame` maps pixels to the screen: x = left + sx (column + 0.5). */
export function paint(context, frame, scene) {
  const { width, height } = context.canvas;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  if (!scene.picture) return;
  paintLayers(context, frame, scene);
  if (scene.ruler) ruler(context, frame, scene.ruler, scene.ratio);
  if (scene.cursor) cross(context, place(frame, scene.cursor), scene.ratio);
  if (scene.pointer) pointer(context, frame, scene.pointer, scene.ratio);
  if (scene.magnified) magnifier(context, frame, scene);
}

/** The slice, masks, outlines and prompts. */
function paintLayers(context, frame, scene) {
  const { left, top, sx, sy } = frame;
  context.setTransform(sx, 0, 0, sy, left, top);
  // From a size on where single pixels are worked on, they are seen as they are.
  context.imageSmoothingEnabled = Math.min(sx, sy) < 6 * scene.ratio;
  context.imageSmoothingQuality = Math.min(sx, sy) < 1 ? "medium" : "low";
  context.drawImage(scene.picture, 0, 0);
  context.imageSmoothingEnabled = false;
  for (const { mask, colour } of scene.masks) {
    context.globalAlpha = scene.opacity;
    context.drawImage(mask.picture(colour), 0, 0);
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
  if (scene.outlines)
    for (const { mask, colour, current } of scene.masks) {
      strokeOutline(context, frame, mask, colour, (current ? 2 : 1.2) * scene.ratio);
    }
  if (scene.reference) {
    context.setLineDash([5 * scene.ratio, 4 * scene.ratio]);
    strokeOutline(context, frame, scene.reference, "#ffffff", 1.4 * scene.ratio);
    context.setLineDash([]);
  }
  if (scene.preview) {
    context.setLineDash([3 * scene.ratio, 3 * scene.ratio]);
    strokeOutline(context, frame, scene.preview, POSITIVE, 1.6 * scene.ratio);
    context.setLineDash([]);
  }
  for (const line of scene.lines) guide(context, frame, line, scene.ratio);
  if (scene.prompts) prompts(context, frame, scene.prompts, scene.ratio);
}

/** What lies under the pointer, larger, in a disc. */
function magnifier(context, frame, scene) {
  const [x, y] = place(frame, scene.magnified);
  const radius = LENS_PX * scene.ratio;
  const { left, top, sx, sy } = frame;
  const larger = {
    ...frame,
    left: x + LENS * (left - x),
    top: y + LENS * (top - y),
    sx: LENS * sx,
    sy: LENS * sy,
  };
  context.save();
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.clip();
  context.fillStyle = "#000";
  context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
  paintLayers(context, larger, scene);
  context.restore();
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = 2 * scene.ratio;
  context.strokeStyle = "#fff";
  context.stroke();
  // The pixel that a click would take.
  context.lineWidth = scene.ratio;
  context.strokeRect(x - (LENS * sx) / 2, y - (LENS * sy) / 2, LENS * sx, LENS * sy);
}

/** A measured distance. */
function ruler(context, frame, { from, to, text }, ratio) {
  const [a, b] = [place(frame, from), place(frame, to)];
  for (const [colour, lineWidth] of [
    ["rgba(0, 0, 0, 0.7)", 4],
    ["#ffe94d", 2],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = lineWidth * ratio;
    context.beginPath();
    context.moveTo(...a);
    context.lineTo(...b);
    for (const [x, y] of [a, b]) {
      context.moveTo(x + 4 * ratio, y);
      context.arc(x, y, 4 * ratio, 0, 2 * Math.PI);
    }
    context.stroke();
  }
  context.font = `600 ${14 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
  context.textAlign = "center";
  context.lineWidth = 4 * ratio;
  context.strokeStyle = "rgba(0, 0, 0, 0.8)";
  context.fillStyle = "#ffe94d";
  const [x, y] = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2 - 8 * ratio];
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

function strokeOutline(context, frame, mask, colour, lineWidth) {
  const path = new Path2D();
  path.addPath(mask.outline, new DOMMatrix([frame.sx, 0, 0, frame.sy, frame.left, frame.top]));
  context.strokeStyle = colour;
  context.lineWidth = lineWidth;
  context.stroke(path);
}

/** Where a pixel's centre lies on the canvas. */
export function place(frame, [x, y]) {
  return [frame.left + frame.sx * (x + 0.5), frame.top + frame.sy * (y + 0.5)];
}

function prompts(context, frame, { points, labels, box }, ratio) {
  if (box) rectangle(context, frame, box, ratio);
  points.forEach((point, n) => click(context, place(frame, point), labels[n] === 1, ratio));
}

function rectangle(context, frame, [x0, y0, x1, y1], ratio) {
  const [a, b] = [place(frame, [x0, y0]), place(frame, [x1, y1])];
  context.lineWidth = 3 * ratio;
  context.strokeStyle = "rgba(0, 0, 0, 0.6)";
  context.strokeRect(a[0], a[1], b[0] - a[0], b[1] - a[1]);
  context.lineWidth = 1.5 * ratio;
  context.strokeStyle = BOX;
  context.setLineDash([6 * ratio, 4 * ratio]);
  context.strokeRect(a[0], a[1], b[0] - a[0], b[1] - a[1]);
  context.setLineDash([]);
}

/** A disc with a plus or a minus: told apart without colour. */
function click(context, [x, y], positive, ratio) {
  const radius = 7 * ratio;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = positive ? POSITIVE : NEGATIVE;
  context.fill();
  context.lineWidth = 2 * ratio;
  context.strokeStyle = "#fff";
  context.stroke();
  context.beginPath();
  context.moveTo(x - radius / 2, y);
  context.lineTo(x + radius / 2, y);
  if (positive) {
    context.moveTo(x, y - radius / 2);
    context.lineTo(x, y + radius / 2);
  }
  context.strokeStyle = "#000";
  context.stroke();
}

/** The keyboard's cursor. */
function cross(context, [x, y], ratio) {
  for (const [colour, lineWidth] of [
    ["#000", 4],
    ["#fff", 2],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = lineWidth * ratio;
    context.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ]) {
      context.moveTo(x + 4 * dx * ratio, y + 4 * dy * ratio);
      context.lineTo(x + 14 * dx * ratio, y + 14 * dy * ratio);
    }
    context.stroke();
  }
}

/** A thin line where another view's slice cuts this one. */
function guide(context, frame, { vertical, at, colour }, ratio) {
  const [x, y] = place(frame, [at, at]);
  context.strokeStyle = colour;
  context.globalAlpha = 0.55;
  context.lineWidth = ratio;
  context.beginPath();
  if (vertical) {
    context.moveTo(x, frame.top);
    context.lineTo(x, frame.top + frame.sy * frame.height);
  } else {
    context.moveTo(frame.left, y);
    context.lineTo(frame.left + frame.sx * frame.width, y);
  }
  context.stroke();
  context.globalAlpha = 1;
}

/** The box, line or stroke in the making, or the brush that could begin one. */
function pointer(context, frame, { box, line, brush, positive, colour, covered }, ratio) {
  if (covered) {
    context.setTransform(frame.sx, 0, 0, frame.sy, frame.left, frame.top);
    context.globalAlpha = 0.6;
    context.drawImage(covered, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
  }
  if (box) rectangle(context, frame, box, ratio);
  if (line?.length) {
    context.beginPath();
    line.forEach((point, n) => {
      const [x, y] = place(frame, point);
      if (n === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    });
    context.lineJoin = "round";
    context.lineCap = "round";
    context.lineWidth = 4 * ratio;
    context.strokeStyle = positive ? POSITIVE : NEGATIVE;
    context.stroke();
  }
  if (brush) {
    const [x, y] = place(frame, brush.at);
    context.beginPath();
    context.ellipse(x, y, brush.radius * frame.sx, brush.radius * frame.sy, 0, 0, 2 * Math.PI);
    context.lineWidth = 3 * ratio;
    context.strokeStyle = "rgba(0, 0, 0, 0.7)";
    context.stroke();
    context.lineWidth = 1.5 * ratio;
    context.strokeStyle = colour;
    context.stroke();
  }
}
