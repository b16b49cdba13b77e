// Annotates a picture and a volume as a person would, reloads, kills the server, and finds the work again.
//   node annotate.mjs PROGRAM [FOLDER FOR SCREENSHOTS]

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { click, drag, openCase, openPage, screenOf, settled, shown, startBrowser, startServer } from "./harness.mjs";
import { VOLUME, discPng, makeFolder } from "./inputs.mjs";

const [program, shots] = process.argv.slice(2);
const repository = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const folder = mkdtempSync(join(tmpdir(), "synthfm-browser-"));
if (shots) mkdirSync(shots, { recursive: true });

function say(text) {
  console.log(`ok: ${text}`);
}

async function screenshot(page, name) {
  if (!shots) return;
  for (const width of [1400, 800]) {
    await page.setViewportSize({ width, height: width === 1400 ? 900 : 1000 });
    await page.waitForTimeout(250);
    await page.screenshot({ path: join(shots, `${name}-${width}.png`) });
  }
  await page.setViewportSize({ width: 1400, height: 900 });
  await page.waitForTimeout(100);
}

/** Bytes of the file that the page saves. */
async function exported(page, format) {
  await page.selectOption("#format", format);
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export")]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

async function picture(page) {
  await openCase(page, "fetal_head");
  await click(page, [420, 290]);
  const first = (await settled(page))[1];
  assert(first.pixels > 1000 && first.labels === "1", JSON.stringify(first));
  say("a click gives a mask");

  await click(page, [200, 420], { button: "right" });
  const second = (await settled(page))[1];
  assert.equal(second.labels, "10");
  say("a right click is a negative click");

  await page.keyboard.press("b");
  await drag(page, [222, 120], [632, 467]);
  const boxed = (await settled(page))[1];
  assert(boxed.box && boxed.pixels > 50_000, JSON.stringify(boxed));
  const score = await page.textContent("#score");
  assert.match(score, /DSC slice 0\.\d{3}/);
  say(`a box refines it: ${score.trim()}`);

  await page.keyboard.press("Control+z");
  assert.deepEqual((await settled(page))[1], second);
  await page.keyboard.press("Control+z");
  await page.keyboard.press("Control+z");
  await settled(page);
  await page.waitForFunction(() => !window.synthfm.study.details.undo);
  assert.equal((await shown(page))[1]?.pixels ?? 0, 0);
  for (let n = 0; n < 3; n += 1) await page.keyboard.press("Control+Shift+z");
  await page.waitForFunction(() => !window.synthfm.study.details.redo);
  assert.deepEqual((await settled(page))[1], boxed);
  say("undo and redo go back and forth, three levels");

  await page.keyboard.press("a");
  // The data set names two, the new one is the third.
  await page.waitForFunction(() => window.synthfm.study.current === 3);
  await page.keyboard.press("d");
  await drag(page, [100, 100], [180, 120]);
  const painted = (await settled(page))[3];
  assert(painted.pixels > 500, JSON.stringify(painted));
  await page.keyboard.press("x");
  await drag(page, [140, 100], [140, 125]);
  const erased = (await settled(page))[3];
  assert(erased.pixels < painted.pixels && erased.pixels > 0);
  say("another structure, with brush and eraser");

  await page.keyboard.press("s");
  await drag(page, [150, 300], [160, 340]);
  const scribbled = (await settled(page))[3];
  assert(scribbled.points >= 1 && scribbled.pixels > 0);
  await page.keyboard.press("Backspace");
  await settled(page);
  await page.keyboard.press("Control+z");
  assert.deepEqual((await settled(page))[3], scribbled);
  await page.keyboard.press("Control+z");
  assert.deepEqual((await settled(page))[3], erased);
  say("a scribble prompts; what was painted outlives it");

  const { name, bytes } = await exported(page, "png");
  assert.match(name, /^fetal_head_0000_label\.png$/, "never the name of the image");
  assert(bytes.subarray(1, 4).equals(Buffer.from("PNG")));
  assert.equal((await exported(page, "png-masks")).bytes.subarray(0, 2).toString(), "PK");
  const coco = JSON.parse((await exported(page, "coco")).bytes);
  assert.equal(coco.annotations.length, 2);
  assert.equal(coco.annotations[0].area, boxed.pixels);
  const nrrd = await exported(page, "nrrd");
  assert.equal(nrrd.bytes.subarray(0, 4).toString(), "NRRD");
  assert.match(nrrd.bytes.subarray(0, 4000).toString("latin1"), /fetal_head/);
  say("exports: PNG, masks, COCO, NRRD with names");
  await page.keyboard.press("p");
  await page.keyboard.press("1");
  await page.keyboard.press("h");
  const before = await shown(page);
  const there = await screenOf(page, [300, 300]);
  await page.mouse.move(there.x, there.y);
  await page.waitForFunction(() => window.synthfm.study.previewMask);
  await page.keyboard.press("h");
  await page.waitForFunction(() => !window.synthfm.study.previewMask);
  assert.deepEqual(await shown(page), before);
  say("a preview under the pointer changes nothing");
  await screenshot(page, "picture");
  return shown(page);
}

async function volume(page) {
  await openCase(page, "ellipsoid");
  assert.equal(await page.evaluate(() => window.synthfm.active.index), 9);
  await click(page, VOLUME.centre.slice(0, 2));
  const middle = (await settled(page))[1];
  assert(middle.pixels > 400, JSON.stringify(middle));
  await page.fill("#propagate-count", "4");
  await page.locator(".view canvas").first().focus();
  await page.keyboard.press(".");
  await page.waitForFunction(() => /done;/.test(document.getElementById("propagate-text").textContent));
  const text = await page.textContent("#propagate-text");
  const index = await page.evaluate(() => window.synthfm.active.index);
  assert.match(text, /^[1-4] slices? done/);
  assert(index > 9, text);
  assert((await settled(page))[1].pixels > 100);
  say(`propagation: ${text} Now on slice ${index}`);

  await page.keyboard.press("Control+z");
  await settled(page);
  assert.equal((await shown(page))[1]?.pixels ?? 0, 0);
  await page.keyboard.press("Control+Shift+z");
  await settled(page);
  assert((await shown(page))[1].pixels > 100);
  say("a propagation is one step to undo");

  await page.keyboard.press("c");
  const coronal = await page.evaluate(() => [window.synthfm.active.plane, window.synthfm.active.index]);
  assert.equal(coronal[0], "coronal");
  assert((await shown(page))[1].pixels > 0, "the axial masks are seen in the coronal plane");
  await page.keyboard.press("c");
  await page.keyboard.press("c");
  await page.waitForFunction(() => window.synthfm.shown().length === 3 && window.synthfm.shown().every((v) => v.slice));
  const wheel = await screenOf(page, [40, 40], 0);
  await page.mouse.move(wheel.x, wheel.y);
  const before = await page.evaluate(() => window.synthfm.views[0].index);
  await page.mouse.wheel(0, 100);
  await page.waitForFunction((n) => window.synthfm.views[0].index === n + 1, before);
  await page.mouse.wheel(0, -100);
  await page.waitForFunction((n) => window.synthfm.views[0].index === n, before);
  say("three planes, and the wheel turns slices");
  await page.waitForTimeout(600);
  await screenshot(page, "volume");

  const { name, bytes } = await exported(page, "nifti");
  assert.equal(name, "ellipsoid_label.nii.gz");
  const raw = gunzipSync(bytes);
  assert.deepEqual(
    [1, 2, 3].map((n) => raw.readInt16LE(40 + 2 * n)),
    VOLUME.size,
  );
  const labelled = raw.subarray(352).reduce((sum, v) => sum + (v === 1 ? 1 : 0), 0);
  assert(labelled > middle.pixels, `${labelled} voxels`);
  say(`export: NIfTI on the grid of the volume, ${labelled} voxels`);
  return { labelled, middle };
}

/** Voxels of the first structure. */
async function voxels(page) {
  await page.evaluate(() => window.synthfm.study.refresh());
  return page.evaluate(() => window.synthfm.study.structures[0].voxels);
}

async function errors(page) {
  await openCase(page, "kidney");
  await page.setInputFiles("#upload", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("hello") });
  await page.waitForSelector("#bubble:not([hidden])");
  assert.match(await page.textContent("#bubble"), /notes\.txt.*not an image/);
  await page.setInputFiles("#upload", { name: "bad.png", mimeType: "image/png", buffer: Buffer.from("hello") });
  await page.waitForFunction(() => /bad\.png/.test(document.getElementById("bubble").textContent));
  await page.keyboard.press("b");
  await click(page, [100, 100]);
  await page.waitForFunction(() => /Drag a box/.test(document.getElementById("bubble").textContent));
  await page.keyboard.press("p");
  say("errors are said in words");
  await page.setInputFiles("#upload", { name: "disc 1.png", mimeType: "image/png", buffer: discPng(200) });
  await page.waitForFunction(() => window.synthfm.study.details.name === "disc_1.png" && window.synthfm.active.slice);
  await click(page, [90, 110]);
  assert((await settled(page))[1].pixels > 1000);
  say("an upload is annotated");
}

/** Without a pointer: the keyboard's cursor; with two fingers: zoom; with one: a click. */
async function otherHands(page, browser, url) {
  await openCase(page, "kidney");
  await page.locator(".view canvas").first().focus();
  await page.keyboard.press("Shift+ArrowLeft");
  await page.keyboard.press("Enter");
  assert.equal((await settled(page))[1].labels, "1");
  await page.keyboard.press("Shift+ArrowDown");
  await page.keyboard.press("Control+Enter");
  assert.equal((await settled(page))[1].labels, "10");
  await page.keyboard.press("r");
  await settled(page);
  say("clicks by keyboard");
  await page.goto("about:blank");

  const touch = await openPage(browser, { viewport: { width: 800, height: 1000 }, hasTouch: true });
  await touch.goto(`${url}`);
  await touch.waitForFunction(() => window.synthfm?.active.slice);
  if (await touch.locator("#ask[open]").count()) await touch.click("#ask button[value=yes]");
  await openCase(touch, "kidney");
  const { x, y } = await screenOf(touch, [129, 247]);
  await touch.touchscreen.tap(x, y);
  assert.equal((await settled(touch))[1].labels, "1");
  const fingers = await touch.context().newCDPSession(touch);
  const two = (gap) => [
    { x: x - gap, y, id: 0 },
    { x: x + gap, y, id: 1 },
  ];
  await fingers.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: two(30).slice(0, 1) });
  await fingers.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: two(30) });
  for (const gap of [40, 50, 60])
    await fingers.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: two(gap) });
  await fingers.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  const zoom = await touch.evaluate(() => window.synthfm.active.zoom);
  assert(zoom > 1.5 && zoom < 2.5, `zoom ${zoom}`);
  assert.equal((await shown(touch))[1].labels, "1", "a pinch is no click");
  if (shots) await touch.screenshot({ path: join(shots, "touch-800.png") });
  assert.deepEqual(touch.errors, []);
  await touch.context().close();
  say("touch: a tap clicks, two fingers zoom");
}

/** Another window may look, and take over when told to. */
async function second(page, browser, url) {
  const other = await openPage(browser);
  await other.goto(`${url}#${await page.evaluate(() => window.synthfm.study.id)}`);
  await other.waitForSelector("#ask[open]");
  await other.click("#ask button[value=yes]");
  await other.waitForFunction(() => window.synthfm.study?.details && window.synthfm.active.slice);
  await click(page, [100, 100]);
  await page.waitForSelector("#ask[open]");
  assert.match(await page.textContent("#ask-text"), /taken over/);
  await page.click("#ask button[value=yes]");
  await page.waitForFunction(() => !document.querySelector("#ask[open]"));
  await other.context().close();
  say("a case belongs to one window, and can be taken over");
}

let server;
let browser;
try {
  makeFolder(folder, repository);
  server = await startServer(program, [folder]);
  browser = await startBrowser();
  const page = await openPage(browser);
  await page.goto(server.url);
  await page.waitForFunction(() => window.synthfm?.active.slice);
  const marked = await picture(page);
  const { labelled, middle } = await volume(page);

  await page.reload();
  await page.waitForFunction(() => window.synthfm?.active.slice);
  assert.equal(await voxels(page), labelled);
  await openCase(page, "fetal_head");
  assert.deepEqual(await shown(page), marked);
  say("after a reload the work is there");

  // Killed right after the page has said "saved", and with a prompt under way.
  await click(page, [430, 250]);
  const saved = await settled(page);
  await click(page, [400, 330]);
  await server.kill();
  server = await startServer(program, [folder]);
  await page.goto(server.url);
  await page.waitForFunction(() => window.synthfm?.active.slice);
  await openCase(page, "fetal_head");
  const found = await shown(page);
  const points = (place) => place[1].points;
  assert(points(found) === points(saved) || points(found) === points(saved) + 1);
  if (points(found) === points(saved)) assert.deepEqual(found, saved);
  await openCase(page, "ellipsoid");
  assert.equal(await voxels(page), labelled);
  const undo = await page.evaluate(() => window.synthfm.study.details.undo);
  assert.equal(undo, "propagation");
  await page.keyboard.press("Control+z");
  await settled(page);
  assert.equal(await voxels(page), middle.pixels);
  say("after kill -9 everything that was saved is there, with its undo steps");

  page.errors = page.errors.filter((text) => !/ERR_(CONNECTION|EMPTY|INCOMPLETE)/.test(text));
  assert.deepEqual(page.errors, []);
  await errors(page);
  await second(page, browser, server.url);
  const before = await page.evaluate(() => window.synthfm.study.id);
  await page.click("#done");
  await page.waitForFunction(() => /Its labels are in/.test(document.getElementById("said").textContent));
  await page.waitForFunction((id) => window.synthfm.study.id !== id && window.synthfm.active.slice, before);
  say("a case that is done has its label file");
  await otherHands(page, browser, server.url);
  const { code } = await server.stop();
  assert.equal(code, 0);
  server = null;
  say("Ctrl-C ends the server");
} finally {
  await browser?.close();
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
}
