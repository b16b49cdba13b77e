// What a case leaves to the next ones and what the page says of it: names of structures, windows, the slice of each plane,
// strokes, cases that are taken over, servers that are killed, images that are replaced.
//   node lists.mjs PROGRAM

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hounsfieldVolume, orientedVolume } from "./cases.mjs";
import { click, drag, openCase, openPage, screenOf, settled, startBrowser, startServer } from "./harness.mjs";

const [program] = process.argv.slice(2);
const root = mkdtempSync(join(tmpdir(), "synthfm-lists-"));

function say(text) {
  console.log(`ok: ${text}`);
}

const state = (page, read) => page.evaluate(read);
const names = (page) => state(page, () => window.synthfm.study.structures.map(({ name }) => name));
const text = (page, id) => page.textContent(`#${id}`);
const focus = (page) => page.locator(".view canvas").first().focus();
const label = (page) => page.textContent(".view:first-child .view-label");

async function shows(page, name) {
  await page.waitForFunction((part) => {
    const { study, active } = window.synthfm ?? {};
    return study?.details.name.includes(part) && active.slice && study.place(active.plane, active.index).loaded;
  }, name);
}

async function turn(page, index) {
  await state(page, `window.synthfm.active.turn(${index})`);
  await page.waitForFunction((n) => {
    const { study, active } = window.synthfm;
    return active.index === n && active.slice && study.place(active.plane, n).loaded;
  }, index);
}

/** Types a name into the row of a structure. */
async function type(page, row, name) {
  await page.click(`#structures li:nth-child(${row}) .rename`);
  await page.keyboard.type(name);
  await page.keyboard.press("Enter");
}

async function until(page, what, expected) {
  await page.waitForFunction(
    ([list]) => JSON.stringify(window.synthfm.study.structures.map(({ name }) => name)) === list,
    [JSON.stringify(expected)],
  );
  assert.deepEqual(await names(page), expected, what);
}

/** A folder with volumes. */
function folderOf(name, files) {
  const folder = join(root, name);
  mkdirSync(folder);
  for (const [file, bytes] of Object.entries(files)) writeFileSync(join(folder, file), bytes);
  return folder;
}

/** Names are unique on a case; a name that other cases have asks; undo reaches the next case. */
async function structures(browser) {
  const files = ["c1", "c2", "c3", "c4"].map((name, n) => [`${name}_0000.nii`, orientedVolume("lps", n + 1)]);
  const folder = folderOf("names", Object.fromEntries(files));
  const server = await startServer(program, [folder]);
  const page = await openPage(browser);
  await page.goto(server.url);
  await shows(page, "c1");
  await type(page, 1, "livr");
  await until(page, "renamed", ["livr"]);
  await focus(page);
  await page.keyboard.press("a");
  await until(page, "added", ["livr", "structure 2"]);
  await type(page, 2, "livr");
  await page.waitForFunction(() => /already/.test(document.getElementById("bubble").textContent));
  await type(page, 2, "Background");
  await page.waitForFunction(() => /value 0/.test(document.getElementById("bubble").textContent));
  assert.deepEqual(await names(page), ["livr", "structure 2"]);
  await type(page, 2, "spleen");
  await until(page, "renamed", ["livr", "spleen"]);
  await click(page, [10, 8]);
  await settled(page);
  await focus(page);
  await page.keyboard.press("y");
  await shows(page, "c2");
  await click(page, [10, 8]);
  await settled(page);
  const done = () => JSON.parse(readFileSync(join(folder, "synthfm-annotations/labels/c1.json"))).structures;
  assert.deepEqual(done().map(({ name }) => name), ["livr", "spleen"]);
  // Closed without an answer, nothing changes.
  await type(page, 1, "liver");
  await page.waitForSelector("#ask[open]");
  assert.match(await text(page, "ask-text"), /Other cases have livr too/);
  await page.keyboard.press("Escape");
  await until(page, "not renamed", ["livr", "spleen"]);
  await type(page, 1, "liver");
  await page.waitForSelector("#ask[open]");
  assert.equal(await text(page, "ask-yes"), "Rename in all cases");
  await page.click("#ask-yes");
  await until(page, "renamed", ["liver", "spleen"]);
  assert.deepEqual(done().map(({ id, name }) => [id, name]), [[1, "liver"], [2, "spleen"]]);
  await focus(page);
  await page.keyboard.press("n");
  await shows(page, "c3");
  assert.deepEqual(await names(page), ["liver", "spleen"]);
  // Undo reaches the cases that come.
  await page.keyboard.press("Delete");
  await until(page, "deleted", ["spleen"]);
  await page.keyboard.press("Control+z");
  await until(page, "back", ["liver", "spleen"]);
  await page.keyboard.press("n");
  await shows(page, "c4");
  assert.deepEqual(await names(page), ["liver", "spleen"]);
  // Another window renames what this one shows.
  const other = await openPage(browser);
  await other.goto(`${server.url}`);
  await shows(other, "");
  await openCase(other, "c2");
  await type(other, 2, "milz");
  await other.waitForSelector("#ask[open]");
  await other.click("#ask-yes");
  await until(other, "renamed", ["liver", "milz"]);
  await until(page, "told", ["liver", "milz"]);
  for (const one of [page, other]) assert.deepEqual(one.errors, []);
  await other.context().close();
  say("names are unique, ask for the other cases, and are taken back there too");
  return [server, page];
}

/** What a page says whose case another one takes. */
async function takenOver(browser, server, page) {
  const other = await openPage(browser);
  await other.goto(server.url);
  await shows(other, "");
  const open = () =>
    other.evaluate(() => {
      const { cases } = window.synthfm;
      return void window.synthfm.open(cases.find(({ name }) => name.includes("c4")).id);
    });
  await open();
  await other.waitForSelector("#ask[open]");
  const before = await text(other, "case-name");
  await other.keyboard.press("Escape");
  await other.waitForFunction(() => document.getElementById("status").textContent !== "");
  assert.equal(await text(other, "case-name"), before);
  await open();
  await other.waitForSelector("#ask[open]");
  await other.click("#ask-yes");
  await shows(other, "c4");
  await page.waitForFunction(() => document.getElementById("status").dataset.state === "taken");
  assert.match(await text(page, "status"), /Taken over/);
  await other.context().close();
  await openCase(page, "c3");
  assert.equal(await page.getAttribute("#status", "data-state"), "saved");
  say("a case that is taken over says so, and a question that is closed leaves the status");
}

/** The slice of each plane, strokes across them, counts, and what goes with the next change. */
async function planes(page) {
  await openCase(page, "c2");
  await focus(page);
  await turn(page, 9);
  for (const [part, go] of [["coronal", 3], ["sagittal", 4]]) {
    await page.keyboard.press("c");
    await page.waitForFunction((name) => window.synthfm.active.plane === name, part);
    await turn(page, go);
  }
  await page.keyboard.press("c");
  await page.waitForFunction(() => window.synthfm.shown().length === 3);
  const indices = () => state(page, () => window.synthfm.shown().map(({ index }) => index));
  assert.deepEqual(await indices(), [9, 3, 4]);
  await page.keyboard.press("c");
  await page.waitForFunction(() => window.synthfm.shown().length === 1);
  assert.match(await label(page), /axial 9 /);
  // C ends a stroke and keeps it.
  await page.keyboard.press("2");
  await page.keyboard.press("d");
  const at = await screenOf(page, [4, 4]);
  await page.mouse.move(at.x, at.y);
  await page.mouse.down();
  await page.mouse.move(at.x + 60, at.y, { steps: 4 });
  await page.keyboard.press("c");
  await page.mouse.move(at.x + 90, at.y, { steps: 3 });
  await page.mouse.up();
  await settled(page);
  const slices = () =>
    state(page, async () => {
      await window.synthfm.study.refresh();
      return window.synthfm.study.structure().slices.axial;
    });
  assert.deepEqual(await slices(), [9]);
  for (let n = 0; n < 3; n += 1) await page.keyboard.press("c");
  await page.waitForFunction(() => window.synthfm.layout === "axial");
  // The count is there with the mask.
  const [answer] = await Promise.all([page.waitForResponse(/edit$/), drag(page, [4, 8], [12, 8])]);
  const { voxels } = await answer.json();
  await page.waitForFunction((n) => window.synthfm.study.structure().voxels === n, voxels, { timeout: 400 });
  assert.match(await page.textContent("#structures li[aria-current]"), new RegExp(`${voxels} voxels`));
  // G asks before it replaces what was marked by hand.
  await turn(page, 7);
  await drag(page, [4, 8], [8, 8]);
  await settled(page);
  await turn(page, 8);
  await drag(page, [3, 3], [5, 3]);
  await settled(page);
  await focus(page);
  await page.keyboard.press("g");
  await page.waitForSelector("#ask[open]");
  assert.match(await text(page, "ask-text"), /Slice 9 was marked by hand/);
  await page.keyboard.press("n");
  await page.waitForFunction(() => !document.querySelector("#ask[open]"));
  assert.equal(await state(page, () => window.synthfm.active.index), 8);
  await turn(page, 3);
  await drag(page, [4, 8], [8, 8]);
  await settled(page);
  await focus(page);
  await page.keyboard.press("i");
  await page.waitForFunction(() => /slices filled/.test(document.getElementById("propagate-text").textContent));
  await drag(page, [4, 10], [8, 10]);
  await settled(page);
  assert.equal(await text(page, "propagate-text"), "");
  await page.keyboard.press("p");
  say("planes keep their slices, C keeps a stroke, counts come with the mask, G asks");
}

/** Windows stay among volumes in Hounsfield units. */
async function windows(browser) {
  const folder = folderOf("windows", {
    "ct1.nii": hounsfieldVolume(1),
    "ct2.nii": hounsfieldVolume(2),
    "mr.nii": orientedVolume("lps", 3),
  });
  const server = await startServer(program, [folder]);
  const page = await openPage(browser);
  await page.goto(server.url);
  await shows(page, "ct1");
  const shown = () => Promise.all(["#window-preset", "#window-width", "#window-level"].map((id) => page.inputValue(id)));
  assert.deepEqual(await shown(), ["auto", "400", "40"]);
  await page.selectOption("#window-preset", "lung");
  await openCase(page, "mr");
  assert.equal((await shown())[0], "auto");
  assert(!(await page.$('#window-preset option[value="lung"]')), "lung is for Hounsfield units");
  await openCase(page, "ct2");
  assert.deepEqual(await shown(), ["lung", "1500", "-600"]);
  // What is no window is put back.
  for (const width of ["-5", "0", "1e300"]) {
    await page.fill("#window-width", width);
    await page.locator("#window-width").blur();
    assert.equal((await shown())[1], "1500", width);
  }
  assert.deepEqual(page.errors, []);
  await page.context().close();
  await server.stop();
  say("windows stay among volumes in Hounsfield units, and go to no others");
}

/** The focus never scrolls the page. */
async function still(page) {
  for (const [width, height] of [[800, 600], [1280, 720]]) {
    await page.setViewportSize({ width, height });
    await page.evaluate(() => document.getElementById("add").focus());
    let reached = false;
    for (let n = 0; n < 60; n += 1) {
      await page.keyboard.press("Tab");
      const [top, id] = await state(page, () => [document.scrollingElement.scrollTop, document.activeElement.id]);
      assert.equal(top, 0, `${id} at ${width} x ${height}`);
      reached ||= id === "reference-file";
    }
    assert(reached, "the tab key comes to the reference");
  }
  await page.setViewportSize({ width: 1400, height: 900 });
  // Good news stands above the slider's marks.
  const clear = await state(page, () => {
    window.synthfm.say("said");
    const marks = document.querySelector(".slice-marks").getBoundingClientRect();
    return document.getElementById("said").getBoundingClientRect().bottom <= marks.top;
  });
  assert(clear, "what is said covers the marks");
  say("the focus does not scroll the page, and news does not cover the slider's marks");
}

/** A server that is killed during propagation, and an image that is replaced. */
async function restarted(browser) {
  const folder = folderOf("restart", { "a.nii": orientedVolume("lps", 3), "b.nii": orientedVolume("ras", 4) });
  let server = await startServer(program, [folder]);
  const page = await openPage(browser);
  await page.goto(server.url);
  await shows(page, "a");
  await openCase(page, "a");
  await click(page, [10, 8]);
  await settled(page);
  // A run whose end never comes.
  await state(page, () => {
    window.synthfm.propagation.show(true);
    document.getElementById("propagate-text").textContent = "Propagating…";
  });
  const { port } = new URL(server.url);
  await server.kill();
  await page.waitForTimeout(1500);
  server = await startServer(program, [folder, "--port", port]);
  await page.waitForFunction(() => /restarted/.test(document.getElementById("propagate-text").textContent), null, {
    timeout: 20_000,
  });
  assert(await page.locator("#propagate-up").isVisible());
  assert.match(await text(page, "said"), /Connected again/);
  const cases = readdirSync(join(folder, "synthfm-annotations/cases"));
  writeFileSync(join(folder, "a.nii"), orientedVolume("lps", 77));
  await page.waitForFunction((id) => new RegExp(id).test(document.getElementById("said").textContent), cases[0], {
    timeout: 30_000,
  });
  assert.match(await text(page, "case-name"), /a\.nii/);
  await page.context().close();
  await server.stop();
  say("a page says that its server was restarted, and where the work on a replaced image is");
}

let browser;
try {
  browser = await startBrowser();
  const [server, page] = await structures(browser);
  await takenOver(browser, server, page);
  await planes(page);
  await still(page);
  assert.deepEqual(page.errors, []);
  await page.context().close();
  await server.stop();
  await windows(browser);
  await restarted(browser);
} finally {
  await browser?.close();
  rmSync(root, { recursive: true, force: true });
}
