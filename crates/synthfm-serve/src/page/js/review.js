// The blinded review: an image, two keys, the next image.

import { call, bytes } from "./api.js";

const RATER_KEY = "synthfm-rater";
const byId = (id) => document.getElementById(id);
const sections = ["who", "judge", "result"];

let rater = "";
let number = null;
let shownAt = 0;
let address = null;

function show(section) {
  for (const id of sections) byId(id).hidden = id !== section;
}

function complain(text) {
  byId("problem").textContent = text ?? "";
  byId("problem").hidden = !text;
}

async function follow(state) {
  byId("count").textContent = `${state.answered} of ${state.total} judged`;
  byId("bar").value = state.answered / Math.max(state.total, 1);
  // Answers count once the image is seen.
  number = null;
  if (state.next === null) {
    await finish();
    return;
  }
  const data = await bytes(`/api/review/image?rater=${encodeURIComponent(rater)}`);
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(new Blob([data], { type: "image/png" }));
  const picture = byId("picture");
  picture.src = address;
  await picture.decode();
  show("judge");
  number = state.next;
  picture.dataset.number = number;
  shownAt = performance.now();
}

async function attempt(work) {
  try {
    complain(null);
    await work();
  } catch (error) {
    complain(error.message);
  }
}

function say(answer) {
  if (number === null || byId("judge").hidden) return;
  const judged = number;
  // Taken once, however often the key is pressed.
  number = null;
  attempt(async () => {
    try {
      const seconds = (performance.now() - shownAt) / 1000;
      await follow(await call("POST", "/api/review", { rater, number: judged, answer, seconds }));
    } catch (error) {
      number = judged;
      throw error;
    }
  });
}

async function finish() {
  const { groups } = await call("GET", `/api/review/summary?rater=${encodeURIComponent(rater)}`);
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const share = ({ correct, count }) => `${correct} of ${count}`;
  byId("rows").replaceChildren(
    ...groups.map(({ modality, all, real, synthetic }) => {
      const row = document.createElement("tr");
      const interval = all.wilson95 ? all.wilson95.map(percent).join(" to ") : "–";
      const cells = [
        modality,
        share(all),
        all.accuracy === null ? "–" : percent(all.accuracy),
        interval,
        share(real),
        share(synthetic),
      ];
      for (const text of cells) row.insertCell().textContent = text;
      return row;
    }),
  );
  show("result");
}

byId("who").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const state = await call("GET", `/api/review?rater=${encodeURIComponent(byId("rater").value)}`);
    rater = state.rater;
    localStorage.setItem(RATER_KEY, rater);
    await follow(state);
  });
});
byId("real").addEventListener("click", () => say("real"));
byId("synthetic").addEventListener("click", () => say("synthetic"));
addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const answer = { r: "real", s: "synthetic" }[event.key.toLowerCase()];
  if (answer) say(answer);
});
byId("rater").value = localStorage.getItem(RATER_KEY) ?? "";
