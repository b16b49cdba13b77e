// Work on many slices: filling gaps, copying to the next slice, clearing from here on, and what the slider shows of it.

import { call } from "./api.js";
import { byId } from "./panels.js";
import { t } from "./texts.js";

/** Width of a slider's thumb, which keeps its middle away from the ends. */
const THUMB_PX = 16;

export class Volume {
  constructor(app) {
    this.app = app;
    /** Whether the panel says what the last filling did. */
    this.told = false;
  }

  get isVolume() {
    return (this.app.study?.details.planes[0].slices ?? 1) > 1;
  }

  async interpolate() {
    if (!this.isVolume) return;
    const { study, active } = this.app;
    const { plane, index } = active;
    const body = { structure: study.current, plane };
    const work = () => call("POST", `/api/cases/${study.id}/interpolate`, body);
    const answer = await study.inOrder(work, { plane, index });
    if (!answer) return;
    const count = answer.slices;
    byId("propagate-text").textContent = count ? t("fill.filled", { count }) : t("fill.none");
    this.told = true;
    study.afterStep(answer);
  }

  /** What was said of the last filling goes with the next change. */
  forgetText() {
    if (this.told) byId("propagate-text").textContent = "";
    this.told = false;
  }

  /** Copies the mask of the active slice to the next one, and goes there; asks where that was marked by hand. */
  async copy(by) {
    if (!this.isVolume) return;
    const { study, active } = this.app;
    const { plane, index, planeInfo } = active;
    const to = index + by;
    if (to < 0 || to >= planeInfo.slices) return;
    const send = async (replace) => {
      const body = { structure: study.current, plane, index, to, replace };
      try {
        return await call("POST", `/api/cases/${study.id}/copy`, body);
      } catch (error) {
        if (error.code === "marked") return "marked";
        throw error;
      }
    };
    let answer = await study.inOrder(() => send(false), { plane, index });
    if (answer === "marked") {
      if (!(await this.app.ask(t("fill.copy.replace", { index: to })))) return;
      answer = await study.inOrder(() => send(true), { plane, index });
    }
    if (!answer) return;
    study.take(answer);
    if (active.study === study && active.plane === plane) active.turn(to);
  }

  /** Clears the active slice and all beyond it. */
  async clearFrom(direction) {
    if (!this.isVolume) return;
    const { study, active } = this.app;
    await study.clear(active.plane, active.index, direction);
  }
}

/** Marks along a view's slider: slices with a mask of the current structure, and those that were worked on by hand. */
export function paintMarks(view) {
  const canvas = view.element.querySelector(".slice-marks");
  const { study, planeInfo } = view;
  canvas.hidden = !study || planeInfo.slices < 2;
  if (canvas.hidden) return;
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
  if (!width) return;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const structure = study.structure();
  const step = (width - THUMB_PX * ratio) / (planeInfo.slices - 1);
  const left = (index) => (THUMB_PX / 2) * ratio + index * step - thick / 2;
  const thick = Math.max(ratio, step);
  context.fillStyle = structure?.colour ?? "#fff";
  for (const index of structure?.slices?.[view.plane] ?? []) context.fillRect(left(index), height * 0.5, thick, height);
  context.fillStyle = "#fff";
  for (const index of structure?.by_hand?.[view.plane] ?? [])
    context.fillRect(left(index), 0, Math.max(2 * ratio, thick), height * 0.45);
}
