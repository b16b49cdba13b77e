// What views have in common: the words and letters around them, the lines where they cut one another, the pixel under the
// pointer.

import { fromPatient, toPatient } from "./geometry.js";
import { byId } from "./panels.js";
import { inWords, patientOf, sliceInMm, voxelOf } from "./place.js";
import { t } from "./texts.js";

/** A view shows another slice. */
export function scrolled(app, view) {
  const { planeInfo, index, plane } = view;
  const slider = view.element.querySelector(".slice");
  const values = { plane: t(`plane.${plane}`), index, last: planeInfo.slices - 1 };
  slider.hidden = planeInfo.slices < 2;
  slider.max = planeInfo.slices - 1;
  slider.value = index;
  slider.setAttribute("aria-label", t("view.slider", values));
  const isVolume = planeInfo.slices > 1;
  const millimetres = isVolume ? sliceInMm(app.study.details, planeInfo, index) : null;
  const text = isVolume ? [t("view.slice", values), millimetres].filter(Boolean).join("  ·  ") : "";
  slider.setAttribute("aria-valuetext", text);
  view.element.querySelector(".view-label").textContent = text;
  view.canvas.setAttribute("aria-label", isVolume ? t("view.slice.long", values) : t("view.picture"));
  const edges = planeInfo.letters ?? ["", "", "", ""];
  ["left", "right", "top", "bottom"].forEach((side, n) => {
    view.element.querySelector(`.edge.${side}`).textContent = edges[n];
  });
  app.study.sliceDice = null;
  app.showScore();
  app.encoding.soon(view);
  for (const other of app.shown()) if (other !== view) other.repaint();
}

/** Lines where the slices of the other views cut this one. */
export function guides(app, view) {
  if (app.shown().length < 2) return [];
  const lines = [];
  for (const other of app.shown()) {
    if (other === view || other.plane === view.plane) continue;
    const position = toPatient(other.planeInfo, other.index, [0, 0]);
    const at = fromPatient(view.planeInfo, position);
    const axis = { axial: "s", coronal: "p", sagittal: "l" }[other.plane];
    const vertical = view.plane === "axial" || view.plane === "coronal" ? axis === "l" : axis === "p";
    lines.push({ vertical, at: vertical ? at.point[0] : at.point[1], plane: other.plane });
  }
  return lines;
}

/** The pointer is at a pixel of a view, or at none. */
export function moved(app, view, at, event) {
  const text = byId("where");
  if (!at || !view.slice || !view.contains(at)) {
    text.textContent = "";
    return;
  }
  const [col, row] = at.map(Math.round);
  const value = view.slice.at(col, row);
  const shown = Array.isArray(value) ? value.join(", ") : Number(value.toPrecision(6));
  text.textContent = `${placeInWords(app.study.details, view, [col, row])}   ${shown}`;
  if (event?.shiftKey && app.shown().length > 1) {
    const position = toPatient(view.planeInfo, view.index, [col, row]);
    for (const other of app.shown()) {
      if (other === view) continue;
      const { index } = fromPatient(other.planeInfo, position);
      if (Math.round(index) !== other.index) other.turn(Math.round(index));
    }
  }
}

/** Array indices and millimetres of a pixel; of a picture the pixel alone. */
function placeInWords(details, { planeInfo, index }, [x, y]) {
  if (details.picture) return t("view.pixel", { x, y });
  const voxel = voxelOf(planeInfo, index, [x, y]);
  const [i, j, k] = voxel;
  const position = patientOf(details, voxel);
  const texts = [t("view.voxel", { i, j, k })];
  if (position) texts.push(`${inWords(position)} mm`);
  return texts.join("   ");
}
