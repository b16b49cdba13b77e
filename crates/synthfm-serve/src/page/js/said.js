// What the page says: scores, whether work is saved, problems, news, questions.

import { byId } from "./panels.js";
import { number, t } from "./texts.js";

const BUBBLE_MS = 6000;

let bubbleTimer = 0;
let saidTimer = 0;

export function showScore(app) {
  const { study } = app;
  const score = study?.scores.get(study.current);
  const part = (name, value) => (typeof value === "number" ? `${t(name)} ${number(value, 3)}` : null);
  const texts = [
    part("score.slice", study?.sliceDice),
    part(study?.details.picture ? "score" : "score.volume", score?.dice),
  ];
  byId("score").textContent = texts.filter(Boolean).join("   ");
}

export function showStatus(app) {
  const element = byId("status");
  if (!app.study) {
    element.textContent = "";
    return;
  }
  const { busy, failed, taken } = app.study;
  const state = taken ? "taken" : busy ? "saving" : failed ? "failed" : "saved";
  element.className = `status ${{ taken: "failed", saving: "busy" }[state] ?? state}`;
  element.dataset.state = state;
  element.textContent = t(`status.${state === "saved" ? savedWord(app.study) : state}`);
  element.title = failed ?? "";
}

/** Whether anything was marked, in a word; it is on the disk in either case. */
function savedWord({ details, structures }) {
  if (!details.revision) return "nothing";
  return structures.some(({ voxels }) => voxels !== 0) ? "saved" : "empty";
}

/** Words in a bubble beside what caused them. */
export function complain(app, text, view = app.active, at = null) {
  const bubble = byId("bubble");
  bubble.textContent = text;
  bubble.hidden = false;
  const outer = byId("viewer").getBoundingClientRect();
  const inner = view.canvas.getBoundingClientRect();
  const [x, y] = at && view.study ? view.screenOf(at) : [inner.width / 2, 24];
  const left = inner.left - outer.left + Math.max(8, Math.min(inner.width - 8, x));
  const top = inner.top - outer.top + Math.max(8, Math.min(inner.height - 60, y + 14));
  bubble.style.left = `${Math.max(8, Math.min(outer.width - bubble.offsetWidth - 8, left - bubble.offsetWidth / 2))}px`;
  bubble.style.top = `${top}px`;
  clearTimeout(bubbleTimer);
  bubbleTimer = setTimeout(() => {
    bubble.hidden = true;
  }, BUBBLE_MS);
}

/** Good news at the lower edge of the image, for a while. */
export function say(text) {
  const element = byId("said");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => {
    element.hidden = true;
  }, BUBBLE_MS);
}

/** Asks a question; whether the answer is yes. */
export async function ask(text) {
  return (await choose(text, t("yes"), t("cancel"))) === "yes";
}

/** Asks a question with two answers, whose buttons say `yes` and `no`; "yes", "no", or "" where it was closed. */
export function choose(text, yes, no) {
  const dialog = byId("ask");
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = yes;
  byId("ask-no").textContent = no;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue), { once: true });
  });
}
