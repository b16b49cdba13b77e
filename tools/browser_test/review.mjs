// The blinded review in a browser: judges all images with the keys, reloads in between.
//   node review.mjs PROGRAM [FOLDER FOR SCREENSHOTS]

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openPage, startBrowser, startServer } from "./harness.mjs";
import { discPng } from "./inputs.mjs";

const [program, shots] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "synthfm-review-"));
const count = 3;
let server;
let browser;
try {
  if (shots) mkdirSync(shots, { recursive: true });
  for (const kind of ["real", "synthetic"]) {
    mkdirSync(join(folder, kind));
    for (let n = 0; n < count; n += 1)
      writeFileSync(join(folder, kind, `${n}.png`), discPng(kind === "real" ? 90 : 120 + n));
  }
  const args = [
    "--review",
    "--real",
    join(folder, "real"),
    "--synthetic",
    join(folder, "synthetic"),
    "--work",
    join(folder, "work"),
  ];
  server = await startServer(program, args);
  browser = await startBrowser();
  const page = await openPage(browser, {}, "review.html");
  await page.goto(server.url);
  await page.fill("#rater", "A B");
  await page.keyboard.press("Enter");
  for (let n = 0; n < 2 * count; n += 1) {
    await page.waitForFunction((k) => document.getElementById("picture").dataset.number === String(k + 1), n);
    const side = await page.evaluate(() => document.getElementById("picture").naturalWidth);
    assert.equal(side, 256);
    if (n === 2) {
      if (shots) await page.screenshot({ path: join(shots, "review-1400.png") });
      await page.reload();
      await page.keyboard.press("Tab");
      await page.click("#who button");
      await page.waitForFunction(() => document.getElementById("picture").dataset.number === "3");
    }
    await page.keyboard.press(n % 2 ? "r" : "s");
  }
  await page.waitForSelector("#result:not([hidden])");
  const text = await page.textContent("#rows");
  assert.match(text, /all\d of 6/);
  if (shots) {
    await page.setViewportSize({ width: 800, height: 700 });
    await page.screenshot({ path: join(shots, "review-800.png") });
  }
  // A space cannot be kept in the file's name; a hash tells such raters apart.
  const file = readdirSync(join(folder, "work")).find((name) => /^answers-A_B-[0-9a-f]{8}\.csv$/.test(name));
  const csv = readFileSync(join(folder, "work", file), "utf8")
    .trim()
    .split("\n");
  assert.equal(csv.length, 1 + 2 * count);
  assert.match(readFileSync(join(folder, "work", "summary.csv"), "utf8"), /A_B-[0-9a-f]{8},all,6,/);
  assert.deepEqual(page.errors, []);
  assert.equal((await server.stop()).code, 0);
  server = null;
  console.log("ok: a review by keys, resumed, with its result");
} finally {
  await browser?.close();
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
}
