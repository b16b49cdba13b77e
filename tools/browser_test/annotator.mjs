// Acts as an annotator over real cases: opens each, names the structure where the page does not know it yet, clicks,
// corrects while the mask is poor, carries it through a volume, and goes on. Prints actions and seconds per case.
//   node annotator.mjs PROGRAM DATASET... [--cases N] [--name STRUCTURE]
// A DATASET has imagesTs and labelsTs as nnU-Net has them; images are taken from all of them in turn. Versions of the page
// without a key for "done, next" are driven by their buttons, so that two programs can be compared.

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { click, openPage, settled, startBrowser, startServer } from "./harness.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cases: { type: "string", default: "10" }, name: { type: "string", default: "target" } },
});
const [program, ...dataSets] = positionals;
assert(program && dataSets.length, "a program and data sets are needed");
const folder = mkdtempSync(join(tmpdir(), "synthfm-annotator-"));
/** Below this Dice a person corrects, at most so many times. */
const GOOD = 0.9;
const CORRECTIONS = 3;
/** Seconds that a person takes for an act (keystroke-level model of Card, Moran and Newell 1980): a key, pointing with a
 * click, and a word that is typed. */
const HUMAN = { key: 0.28, click: 1.3, word: 1.7 };

/** Copies images and labels into one data set, the first of each, then the second. */
function takeCases(count) {
  for (const kind of ["imagesTs", "labelsTs"]) mkdirSync(join(folder, kind));
  const lists = dataSets.map((set) => readdirSync(join(set, "imagesTs")).sort());
  let taken = 0;
  for (let n = 0; taken < count && n < 1000; n += 1) {
    for (const [at, set] of dataSets.entries()) {
      const image = lists[at][n];
      if (!image || taken >= count) continue;
      const label = image.replace("_0000.", ".");
      cpSync(join(set, "imagesTs", image), join(folder, "imagesTs", `${String(taken).padStart(2, "0")}-${image}`));
      cpSync(join(set, "labelsTs", label), join(folder, "labelsTs", `${String(taken).padStart(2, "0")}-${label}`));
      taken += 1;
    }
  }
  return taken;
}

/** The person, who counts. */
class Person {
  constructor(page) {
    this.page = page;
    this.acts = { key: 0, click: 0, word: 0 };
  }

  async key(key) {
    this.acts.key += 1;
    await this.page.keyboard.press(key);
  }

  async press(selector) {
    this.acts.click += 1;
    await this.page.click(selector);
  }

  async type(text) {
    this.acts.word += 1;
    await this.page.keyboard.type(text);
  }

  async clickAt(point, positive) {
    this.acts.click += 1;
    await click(this.page, point, { button: positive ? "left" : "right" });
    await settled(this.page);
  }
}

/** In the page: the slice on which the reference's first label is largest, and that label. */
async function target(page) {
  return page.evaluate(async () => {
    const { study } = window.synthfm;
    const { id, planes, reference } = study.details;
    const label = reference[0].value;
    let best = { area: 0 };
    for (let index = 0; index < planes[0].slices; index += 1) {
      const answer = await fetch(`/api/cases/${id}/reference?plane=axial&index=${index}&label=${label}`);
      const { runs } = await answer.json();
      const area = runs.filter((_, n) => n % 2 === 1).reduce((sum, n) => sum + n, 0);
      if (area > best.area) best = { area, index, runs, label };
    }
    return { ...best, volume: planes[0].slices > 1 };
  });
}

/** In the page: the pixel deepest in what the mask lacks or has too much, and the Dice of the slice. */
async function correction(page, runs) {
  return page.evaluate((truthRuns) => {
    const { study, active } = window.synthfm;
    const { width, height } = study.plane(active.plane);
    const truth = new Uint8Array(width * height);
    let at = 0;
    truthRuns.forEach((run, n) => {
      if (n % 2) truth.fill(1, at, at + run);
      at += run;
    });
    const mask = study.entry(active.plane, active.index)?.mask.pixels ?? new Uint8Array(width * height);
    let [both, all] = [0, 0];
    for (let n = 0; n < truth.length; n += 1) {
      both += truth[n] & mask[n];
      all += truth[n] + mask[n];
    }
    // Peels errors off until none is left: the last ones are the deepest.
    let wrong = truth.map((v, n) => (v !== mask[n] ? 1 : 0));
    let last = null;
    while (wrong.includes(1)) {
      last = wrong;
      wrong = wrong.map((v, n) => {
        const [x, y] = [n % width, Math.floor(n / width)];
        const inner = x > 0 && y > 0 && x < width - 1 && y < height - 1;
        return v && inner && last[n - 1] && last[n + 1] && last[n - width] && last[n + width] ? 1 : 0;
      });
    }
    const n = last ? last.indexOf(1) : -1;
    return { dice: all ? (2 * both) / all : 1, point: [n % width, Math.floor(n / width)], positive: truth[n] === 1, found: n >= 0 };
  }, runs);
}

async function nameStructure(person) {
  const name = await person.page.evaluate(() => window.synthfm.study.structures[0].name);
  if (name === values.name) return;
  await person.press("#structures .rename");
  await person.type(values.name);
  await person.key("Enter");
  await person.page.waitForFunction((wanted) => window.synthfm.study.structures[0].name === wanted, values.name);
}

/** Clicks until the mask is good. */
async function mark(person, { runs }) {
  let state = await correction(person.page, runs);
  for (let n = 0; n <= CORRECTIONS && state.found && state.dice < GOOD; n += 1) {
    await person.clickAt(state.point, state.positive);
    state = await correction(person.page, runs);
  }
  return state.dice;
}

async function propagate(person) {
  for (const key of [".", ","]) {
    await person.page.locator(".view canvas").first().focus();
    const start = await person.page.evaluate(() => window.synthfm.active.index);
    await person.key(key);
    // It ends, or says at once that there is no slice on that side.
    await person.page.waitForFunction(
      () => / done; /.test(document.getElementById("propagate-text").textContent) || !document.getElementById("bubble").hidden,
    );
    await settled(person.page);
    await person.page.evaluate((n) => window.synthfm.active.turn(n), start);
    await person.page.evaluate(() => {
      document.getElementById("propagate-text").textContent = "";
      document.getElementById("bubble").hidden = true;
    });
  }
}

/** Says that the case is done, and waits for the next one. */
async function finish(person, isLast) {
  const { page } = person;
  await page.locator(".view canvas").first().focus();
  const id = await page.evaluate(() => window.synthfm.study.id);
  const hasKey = await page.evaluate(() => Boolean(window.synthfm.flow));
  if (hasKey) await person.key("y");
  else {
    // The hand goes to the button meanwhile.
    await page.waitForTimeout(300);
    await person.press("#done");
    await page.waitForFunction(() => window.synthfm.study.details.state === "done");
    await page.locator(".view canvas").first().focus();
    if (!isLast) await person.key("n");
  }
  if (isLast) await page.waitForFunction(() => window.synthfm.study.details.state === "done");
  else await page.waitForFunction((before) => window.synthfm.study.id !== before && window.synthfm.active.slice, id);
}

let server;
let browser;
try {
  const count = takeCases(Number(values.cases));
  server = await startServer(program, [folder]);
  browser = await startBrowser();
  const page = await openPage(browser);
  await page.goto(server.url);
  await page.waitForFunction(() => window.synthfm?.active.slice);
  const cases = [];
  for (let n = 0; n < count; n += 1) {
    const wanted = await target(page);
    const person = new Person(page);
    const started = performance.now();
    await nameStructure(person);
    if (wanted.volume) {
      // The slider is dragged there.
      person.acts.click += 1;
      await page.evaluate((index) => window.synthfm.active.turn(index), wanted.index);
      await page.waitForFunction((index) => window.synthfm.active.index === index && window.synthfm.active.slice, wanted.index);
      await page.evaluate(() => window.synthfm.study.place("axial", window.synthfm.active.index).ready);
    }
    const dice = await mark(person, wanted);
    if (wanted.volume && dice > 0.3) await propagate(person);
    const name = await page.evaluate(() => window.synthfm.study.details.name);
    await finish(person, n === count - 1);
    const seconds = (performance.now() - started) / 1000;
    const { key, click: clicks, word } = person.acts;
    const human = key * HUMAN.key + clicks * HUMAN.click + word * HUMAN.word;
    cases.push({ name, actions: key + clicks + word, seconds, with_person_s: seconds + human, dice });
  }
  const mean = (read) => cases.reduce((sum, item) => sum + read(item), 0) / cases.length;
  const round = (value) => Math.round(value * 100) / 100;
  for (const { name, actions, seconds, with_person_s: all, dice } of cases)
    console.log(`${name.padEnd(44)} ${actions} actions  ${seconds.toFixed(2)} s  ${all.toFixed(1)} s with a person's  DSC ${dice.toFixed(3)}`);
  const summary = { cases: count, actions: mean((c) => c.actions), seconds: mean((c) => c.seconds), with_person_s: mean((c) => c.with_person_s) };
  console.log(JSON.stringify(Object.fromEntries(Object.entries(summary).map(([k, v]) => [k, round(v)]))));
  await server.stop();
  server = null;
} finally {
  await browser?.close();
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
}
