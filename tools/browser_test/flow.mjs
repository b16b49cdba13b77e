// Works through many cases as a person would: labels that stay, keys alone, windows, orientation, gaps, the archive of
// all cases, files that come later, a browser that is killed; small screens and accessibility on the way.
//   node flow.mjs PROGRAM [FOLDER FOR SCREENSHOTS]
// PYTHON names a Python that has nibabel (python3 by default).

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ORIENTATIONS, makeCases, orientedVolume, size } from "./cases.mjs";
import { click, drag, openCase, openPage, screenOf, settled, startBrowser, startKillable, startServer } from "./harness.mjs";

const [program, shots] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const repository = resolve(here, "../..");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "synthfm-flow-"));
const screens = { wide: [1400, 900], small: [800, 600], phone: [390, 844] };
if (shots) mkdirSync(shots, { recursive: true });

function say(text) {
  console.log(`ok: ${text}`);
}

const state = (page, read) => page.evaluate(read);
const structures = (page) => state(page, () => window.synthfm.study.structures.map(({ id, name, key }) => [id, name, key]));
const text = (page, id) => page.textContent(`#${id}`);

/** Waits until a case is shown and its slice is there. */
async function shows(page, name) {
  await page.waitForFunction((part) => {
    const { study, active } = window.synthfm ?? {};
    return study?.details.name.includes(part) && active.slice && study.place(active.plane, active.index).loaded;
  }, name);
}

/** Fails where axe-core finds something serious. */
async function accessible(page, what) {
  await page.evaluate((source) => window.axe ?? new Function(source)(), axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    const short = ({ target, any }) => `${target.join(" ")} ${any[0]?.message ?? ""}`;
    return violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map(short) }));
  });
  const serious = found.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(serious, [], what);
  return found;
}

async function screenshot(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
}

/** The label list of the first case is that of the next ones, and of the server's next start. */
async function labels(page) {
  await shows(page, "lps");
  assert.deepEqual(await structures(page), [[1, "structure 1", 1]]);
  await page.click("#structures .rename");
  await page.keyboard.type("liver");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => window.synthfm.study.structures[0].name === "liver");
  await page.locator(".view canvas").first().focus();
  await page.keyboard.press("a");
  await page.waitForFunction(() => window.synthfm.study.structures.length === 2);
  await page.dblclick("#structures li:nth-child(2) .structure-name");
  await page.keyboard.type("spleen");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => window.synthfm.study.structures[1].name === "spleen");
  const list = [
    [1, "liver", 1],
    [2, "spleen", 2],
  ];
  for (const name of ["oblique", "ras", "series"]) {
    await page.locator(".view canvas").first().focus();
    await page.keyboard.press("n");
    await shows(page, name);
    assert.deepEqual(await structures(page), list, name);
    assert.match(await text(page, "missing"), /2 not marked/);
  }
  say("the structures of the first case are those of the next three");
}

async function orientation(page) {
  for (const [name, { rows, letters }] of Object.entries(ORIENTATIONS)) {
    await openCase(page, name);
    const edges = await page.$$eval(".view:first-child .edge", (all) => all.map((edge) => edge.textContent));
    assert.deepEqual(edges, letters, name);
    await position(page, rows, name);
  }
  await openCase(page, "series");
  const edges = await page.$$eval(".view:first-child .edge", (all) => all.map((edge) => edge.textContent));
  assert.deepEqual(edges, ["R", "L", "A", "P"]);
  const expected = JSON.parse(readFileSync(join(repository, "crates/synthfm-image/tests/fixtures/formats/expected.json")));
  const { affine } = expected.files.dicom_axial;
  const found = await state(page, () => window.synthfm.study.details.patient_from_voxel);
  for (const [row, values] of found.entries())
    for (const [column, value] of values.entries()) assert(Math.abs(value - affine[row][column]) < 1e-3, `${found} ${affine}`);
  say("letters, voxels and millimetres for RAS, LPS, an oblique volume and a DICOM series");
  await openCase(page, "lps");
  await page.keyboard.press("c");
  const coronal = await page.$$eval(".view:first-child .edge", (all) => all.map((edge) => edge.textContent));
  assert.deepEqual(coronal, ["R", "L", "S", "I"]);
  await page.keyboard.press("c");
  const sagittal = await page.$$eval(".view:first-child .edge", (all) => all.map((edge) => edge.textContent));
  assert.deepEqual(sagittal, ["A", "P", "S", "I"]);
  await page.keyboard.press("c");
  await page.waitForFunction(() => window.synthfm.shown().length === 3);
  await page.keyboard.press("c");
}

/** The words for a pixel are those of its voxel, computed here from the file's own rows. */
async function position(page, rows, name) {
  const at = await screenOf(page, [3, 4]);
  await page.mouse.move(at.x, at.y);
  await page.waitForFunction(() => document.getElementById("where").textContent);
  const words = await text(page, "where");
  const [, i, j, k] = /voxel (\d+), (\d+), (\d+)/.exec(words).map(Number);
  // Columns lead to the patient's left, rows to the back: the array's axes run with them or against them.
  const flipped = name === "ras";
  assert.deepEqual([i, j], flipped ? [size[0] - 1 - 3, size[1] - 1 - 4] : [3, 4], words);
  const ras = rows.map((row) => row[3] + row[0] * i + row[1] * j + row[2] * k);
  const pairs = ["RL", "AP", "SI"].map((pair, axis) => {
    const value = Math.round(ras[axis] * 10) / 10;
    return `${pair[value < 0 ? 1 : 0]} ${Math.abs(value).toFixed(1)}`;
  });
  for (const pair of pairs) assert(words.includes(pair), `${name}: ${words}, expected ${pairs}`);
  const label = await page.textContent(".view:first-child .view-label");
  assert(label.includes(`axial ${k} / ${size[2] - 1}`) && label.includes(pairs[2]), label);
}

/** A window stays over cases and a reload, by name and by hand. */
async function windows(page) {
  await openCase(page, "lps");
  await page.selectOption("#window-preset", "range");
  const preset = () => page.inputValue("#window-preset");
  await openCase(page, "ras");
  assert.equal(await preset(), "range");
  await page.fill("#window-width", "123");
  await page.fill("#window-level", "77");
  await page.locator("#window-level").blur();
  assert.equal(await preset(), "hand");
  await page.reload();
  await shows(page, "ras");
  assert.deepEqual([await preset(), await page.inputValue("#window-width"), await page.inputValue("#window-level")], [
    "hand",
    "123",
    "77",
  ]);
  const names = await page.$$eval("#window-preset option", (all) => all.map(({ value }) => value));
  assert.deepEqual(names, ["auto", "range", "hand"], "radiology's windows are for Hounsfield units");
  await page.selectOption("#window-preset", "auto");
  say("a window stays over cases and a reload");
}

/** From the first case to the last without a pointer. */
async function keysAlone(page) {
  await openCase(page, "lps");
  assert.match(await text(page, "status"), /nothing is marked/i);
  await page.locator(".view canvas").first().focus();
  await page.keyboard.press("y");
  await page.waitForSelector("#ask[open]");
  await accessible(page, "a question");
  assert.match(await text(page, "ask-text"), /Nothing is marked/);
  await page.keyboard.press("n");
  await page.waitForFunction(() => !document.querySelector("#ask[open]"));
  assert.equal(await state(page, () => window.synthfm.study.details.state), "new");
  for (const name of ["lps", "oblique", "ras"]) {
    await shows(page, name);
    await page.locator(".view canvas").first().focus();
    await page.keyboard.press("Shift+ArrowLeft");
    await page.keyboard.press("Enter");
    assert((await settled(page))[1].pixels > 20);
    assert.equal(await text(page, "status"), "Saved", "the first mask is no longer nothing");
    assert.match(await text(page, "missing"), /1 not marked/);
    await page.keyboard.press("y");
  }
  await shows(page, "series");
  assert.match(await text(page, "case-count"), /3 of 4 done/);
  await page.keyboard.press("k");
  await page.waitForFunction(() => /No other case/.test(document.getElementById("said").textContent));
  await page.keyboard.press("Shift+N");
  await shows(page, "ras");
  say("done and next, skip and previous by keys alone; a case with nothing marked asks");
}

/** Gaps, copies and clearing by keys; the slider knows. */
async function slices(page) {
  await openCase(page, "oblique");
  await page.keyboard.press("2");
  await page.waitForFunction(() => window.synthfm.study.current === 2);
  await page.keyboard.press("d");
  const paint = async (index) => {
    await state(page, `window.synthfm.active.turn(${index})`);
    await page.waitForFunction((n) => window.synthfm.active.index === n && window.synthfm.study.place("axial", n).loaded, index);
    await drag(page, [6, 4], [14, 4]);
    await settled(page);
  };
  await paint(2);
  await paint(6);
  const marked = () =>
    state(page, async () => {
      await window.synthfm.study.refresh();
      const { slices, by_hand: byHand } = window.synthfm.study.structure();
      return [slices.axial, byHand.axial];
    });
  assert.deepEqual(await marked(), [[2, 6], [2, 6]]);
  await page.keyboard.press("i");
  await page.waitForFunction(() => /3 slices filled/.test(document.getElementById("propagate-text").textContent));
  assert.deepEqual(await marked(), [[2, 3, 4, 5, 6], [2, 6]]);
  // Two equal masks have themselves between them.
  const areas = await state(page, async () => {
    const { study } = window.synthfm;
    const all = [];
    for (const index of [2, 4, 6]) {
      const place = study.place("axial", index);
      await place.ready;
      all.push(place.entries.get(2).mask.pixels.reduce((sum, v) => sum + v, 0));
    }
    return all;
  });
  assert(areas[0] > 10 && areas.every((area) => area === areas[0]), String(areas));
  await page.keyboard.press("g");
  await page.waitForFunction(() => window.synthfm.active.index === 7);
  await settled(page);
  assert.deepEqual((await marked())[0], [2, 3, 4, 5, 6, 7]);
  await state(page, "window.synthfm.active.turn(4)");
  await page.keyboard.press("Shift+PageUp");
  await settled(page);
  assert.deepEqual(await marked(), [[2, 3], [2]]);
  await page.keyboard.press("Control+z");
  await settled(page);
  assert.deepEqual((await marked())[0], [2, 3, 4, 5, 6, 7]);
  await page.keyboard.press("p");
  say("gaps are filled, a mask is copied, and all from here on is cleared");
  assert.equal(await state(page, () => window.synthfm.study.details.state), "started", "a changed case is not done");
}

async function measures(page) {
  await openCase(page, "ras");
  await page.keyboard.press("l");
  await drag(page, [2, 2], [6, 4]);
  const ruler = await state(page, () => window.synthfm.active.ruler);
  // Four columns of 1 mm and two rows of 1.5 mm.
  assert.equal(ruler.text, "5.0 mm");
  await page.keyboard.press("Escape");
  assert.equal(await state(page, () => window.synthfm.active.ruler), null);
  await page.keyboard.press("p");
  await page.keyboard.press("z");
  const at = await screenOf(page, [8, 8]);
  await page.mouse.move(at.x, at.y);
  await page.waitForFunction(() => window.synthfm.active.scene().magnified);
  await screenshot(page, "magnifier");
  await page.keyboard.press("z");
  await page.keyboard.press("f");
  await page.keyboard.down("Control");
  for (let n = 0; n < 3; n += 1) await page.mouse.wheel(0, -100);
  await page.keyboard.up("Control");
  await page.waitForFunction(() => Math.abs(window.synthfm.active.zoom - Math.exp(0.75)) < 0.02);
  await page.keyboard.press("f");
  say("ruler, magnifier, smooth zoom");
}

/** What did not arrive is not called saved; a session that has ended is replaced. */
async function truth(page) {
  await openCase(page, "ras");
  const status = () => page.getAttribute("#status", "data-state");
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route("**/predict", async (route) => {
    await held;
    await route.abort();
  });
  await click(page, [9, 9]);
  assert.equal(await status(), "saving");
  release();
  await page.waitForFunction(() => document.getElementById("status").dataset.state === "failed");
  assert.equal(await text(page, "status"), "Not saved");
  await page.unroute("**/predict");
  const [request] = await Promise.all([page.waitForRequest(/predict$/), click(page, [9, 9])]);
  await settled(page);
  const session = request.headers()["x-session"];
  await page.evaluate((id) => fetch(`/api/sessions/${id}`, { method: "DELETE" }), session);
  const before = await state(page, () => window.synthfm.study.details.revision);
  await click(page, [11, 8]);
  await page.waitForFunction((n) => window.synthfm.study.details.revision > n, before);
  await settled(page);
  assert.match(await text(page, "said"), /Connected again/);
  await page.keyboard.press("y");
  await shows(page, "series");
  say("saved means saved, and a page whose session has ended goes on");
}

/** The archive of all cases that are done. */
async function archive(page) {
  await openCase(page, "oblique");
  await page.keyboard.press("y");
  await shows(page, "series");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export-all")]);
  const path = await download.path();
  const python = process.env.PYTHON ?? "python3";
  const args = [join(here, "check_archive.py"), path, join(folder, "scans"), "liver=1", "spleen=2"];
  say(execFileSync(python, args, { encoding: "utf8" }).trim());
}

/** A file that is put into the folder appears. */
async function newFiles(page) {
  const before = await state(page, () => window.synthfm.cases.length);
  writeFileSync(join(folder, "later.part"), orientedVolume("ras", 9));
  renameSync(join(folder, "later.part"), join(folder, "scans", "zz_later_0000.nii"));
  await page.waitForFunction((n) => window.synthfm.cases.length === n + 1, before, { timeout: 20_000 });
  await openCase(page, "zz_later");
  assert.equal((await structures(page))[1][1], "spleen");
  say("a file that comes later is a case without a restart, with the same structures");
}

/** What a killed browser had open is free within seconds. */
async function killed(page, url) {
  await openCase(page, "ras");
  const other = await startKillable();
  const there = await openPage(other.browser);
  await there.goto(url);
  await shows(there, "");
  await openCase(there, "lps");
  const open = () =>
    state(page, async () => {
      const id = window.synthfm.cases.find((c) => c.name.includes("lps")).id;
      const sent = await fetch("/api/sessions", { method: "POST" });
      const { session } = await sent.json();
      const headers = { "content-type": "application/json", "x-session": session };
      const answer = await fetch(`/api/cases/${id}/open`, { method: "POST", headers, body: "{}" });
      await fetch(`/api/sessions/${session}`, { method: "DELETE" });
      return answer.status;
    });
  assert.equal(await open(), 423);
  await other.kill();
  const started = Date.now();
  let status = 423;
  while (status === 423 && Date.now() - started < 30_000) {
    await page.waitForTimeout(500);
    status = await open();
  }
  const seconds = (Date.now() - started) / 1000;
  assert.equal(status, 200);
  assert(seconds < 12, `${seconds} s`);
  say(`the case of a killed browser is free after ${seconds.toFixed(1)} s`);
}

/** On every screen all controls can be brought into view and are not covered. */
async function reachable(page) {
  const controls = ["#done", "#next", "#previous", "#skip-case", "#help-button", "#add", "#structures .rename", "#export", "#format"];
  controls.push("#propagate-up", "#interpolate", "#copy-up", "#clear-down", "#window-preset", "#window-width", "#undo", "#fit");
  for (const [name, [width, height]] of Object.entries(screens)) {
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(250);
    for (const control of controls) {
      const covered = await page.evaluate((selector) => {
        const element = document.querySelector(selector);
        element.scrollIntoView({ block: "center", inline: "center" });
        const { left, top, width: w, height: h } = element.getBoundingClientRect();
        const found = document.elementFromPoint(left + w / 2, top + h / 2);
        const inside = left >= -1 && top >= -1 && left + w <= innerWidth + 1 && top + h <= innerHeight + 1;
        return inside && (element === found || element.contains(found)) ? null : `${found?.id} ${left} ${top} ${w} ${h}`;
      }, control);
      assert.equal(covered, null, `${control} at ${width} x ${height}`);
    }
    if (name !== "wide") {
      await page.click("#toggle-cases");
      assert(await page.locator("#export-all").isVisible(), name);
      await screenshot(page, `cases-${name}`);
      await accessible(page, `cases at ${width}`);
      await page.click("#toggle-cases");
    }
    for (const scheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme: scheme });
      await accessible(page, `${scheme} at ${width} x ${height}`);
      await page.evaluate(() => document.getElementById("panel").scrollTo(0, 0));
      await screenshot(page, `${scheme}-${name}`);
    }
  }
  await page.setViewportSize({ width: screens.wide[0], height: screens.wide[1] });
  await page.waitForTimeout(200);
  say("everything is in reach at 1400, 800 and 390 pixels, in both themes, without serious findings of axe-core");
}

/** The structures in 3-D: something is drawn, and it turns. */
async function surface(page) {
  await page.locator(".view canvas").first().focus();
  await page.keyboard.press("u");
  await page.waitForFunction(() => /Drag or use the arrows/.test(document.getElementById("surface-text").textContent));
  const drawn = () =>
    state(page, () => {
      const view = window.synthfm.surface;
      view.paint();
      const { width, height } = view.canvas;
      const pixels = new Uint8Array(4 * width * height);
      view.gl.readPixels(0, 0, width, height, view.gl.RGBA, view.gl.UNSIGNED_BYTE, pixels);
      const places = [];
      for (let n = 0; n < width * height; n += 97) if (pixels[4 * n] + pixels[4 * n + 1] + pixels[4 * n + 2] > 60) places.push(n);
      return places;
    });
  const before = await drawn();
  assert(before.length > 50, `${before.length} pixels`);
  await accessible(page, "surfaces");
  await screenshot(page, "surface");
  for (let n = 0; n < 5; n += 1) await page.keyboard.press("ArrowRight");
  assert.notDeepEqual(await drawn(), before);
  await page.keyboard.press("Escape");
  // The dialog tells of its closing a moment after it has closed.
  await page.waitForFunction(() => !document.querySelector("#surface[open]") && window.synthfm.surface.meshes.length === 0);
  await page.locator(".view canvas").first().focus();
  say("surfaces in 3-D");
}

async function otherStates(page) {
  await page.keyboard.press("?");
  await page.waitForSelector("#help[open]");
  await accessible(page, "the list of keys");
  await screenshot(page, "help");
  await page.keyboard.press("Escape");
  await page.locator(".view canvas").first().focus();
  for (let n = 0; n < 3; n += 1) await page.keyboard.press("c");
  await page.waitForFunction(() => window.synthfm.shown().length === 3 && window.synthfm.shown().every((v) => v.slice));
  await accessible(page, "three planes");
  await screenshot(page, "planes");
  await page.keyboard.press("c");
  await surface(page);
  await page.keyboard.press("b");
  await click(page, [5, 5]);
  await page.waitForSelector("#bubble:not([hidden])");
  await accessible(page, "an error");
  await page.keyboard.press("Escape");
  await page.keyboard.press("d");
  await accessible(page, "the brush");
  await page.keyboard.press("p");
  say("keys, planes, errors and tools have no serious findings either");
}

/** Another language, and a list of labels with their own keys. */
async function german(browser) {
  const list = join(folder, "labels.toml");
  writeFileSync(
    list,
    'labels = [{ name = "Niere", value = 4, colour = "#ff0000", key = 3 }, { name = "Leber", value = 7 }]\n',
  );
  const server = await startServer(program, [folder, "--work", join(folder, "work2"), "--labels", list]);
  const page = await openPage(browser, { locale: "de-DE" });
  await page.goto(server.url);
  await shows(page, "");
  assert.equal(await text(page, "done"), "Fertig, weiter");
  assert.equal(await text(page, "status"), "Noch nichts markiert");
  assert.equal(await page.getAttribute("html", "lang"), "de");
  assert.deepEqual(await structures(page), [
    [4, "Niere", 3],
    [7, "Leber", 1],
  ]);
  await page.keyboard.press("1");
  await page.waitForFunction(() => window.synthfm.study.current === 7);
  await page.keyboard.press("3");
  await page.waitForFunction(() => window.synthfm.study.current === 4);
  await page.emulateMedia({ colorScheme: "dark" });
  for (const [name, [width, height]] of Object.entries(screens)) {
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(200);
    await accessible(page, `German at ${width}`);
    await screenshot(page, `german-${name}`);
  }
  assert.deepEqual(page.errors, []);
  await page.context().close();
  await server.stop();
  say("German, and labels of a file with their keys and values");
}

let server;
let browser;
try {
  makeCases(folder, repository);
  server = await startServer(program, [folder]);
  browser = await startBrowser();
  const page = await openPage(browser);
  await page.goto(server.url);
  await labels(page);
  await server.stop();
  server = await startServer(program, [folder]);
  await page.goto(server.url);
  await shows(page, "");
  await openCase(page, "ras");
  assert.equal((await structures(page))[1][1], "spleen", "the list outlives the server");
  page.errors = page.errors.filter((line) => !/ERR_(CONNECTION|EMPTY|INCOMPLETE)/.test(line));
  await orientation(page);
  await windows(page);
  await keysAlone(page);
  await slices(page);
  await measures(page);
  await truth(page);
  await archive(page);
  await newFiles(page);
  await killed(page, server.url);
  await openCase(page, "oblique");
  await otherStates(page);
  await reachable(page);
  assert.deepEqual(page.errors, []);
  await page.context().close();
  assert.equal((await server.stop()).code, 0);
  server = null;
  await german(browser);
} finally {
  await browser?.close();
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
}
