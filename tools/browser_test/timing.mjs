// Times what a person waits for, in the browser: from opening a 512 x 512 image to the first mask, and from each later
// click to the painted mask. Prints milliseconds.
//   node timing.mjs PROGRAM [CLICKS]

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { click, openPage, quantiles, settled, startBrowser, startServer } from "./harness.mjs";
import { discPng } from "./inputs.mjs";

const [program, clicks = "60"] = process.argv.slice(2);
const images = 5;
const folder = mkdtempSync(join(tmpdir(), "synthfm-timing-"));
let server;
let browser;

/** Opens a case and clicks as soon as it is seen; milliseconds to the mask. */
async function firstMask(page, name) {
  return page.evaluate(async (part) => {
    const { synthfm } = window;
    const started = performance.now();
    await synthfm.open(synthfm.cases.find((c) => c.name.includes(part)).id);
    const view = synthfm.active;
    while (!view.slice) await new Promise((next) => setTimeout(next, 1));
    const prompts = { points: [[230, 280]], labels: [1], box: null };
    await synthfm.study.predict(view.plane, view.index, prompts, "click", performance.now());
    await new Promise((next) => requestAnimationFrame(() => setTimeout(next, 0)));
    return performance.now() - started;
  }, name);
}

try {
  for (let n = 0; n < images; n += 1) writeFileSync(join(folder, `disc${n}.png`), discPng(512));
  server = await startServer(program, [folder]);
  browser = await startBrowser();
  const page = await openPage(browser);
  await page.goto(server.url);
  await page.waitForFunction(() => window.synthfm?.active.slice);
  const first = [];
  for (let n = images - 1; n >= 0; n -= 1) first.push(await firstMask(page, `disc${n}.png`));
  const later = [];
  for (let n = 0; n < Number(clicks); n += 1) {
    await page.evaluate(() => performance.clearMeasures("act-to-mask"));
    await click(page, [140 + ((n * 37) % 180), 190 + ((n * 53) % 180)], { button: n % 4 === 3 ? "right" : "left" });
    await settled(page);
    await page.waitForFunction(() => performance.getEntriesByName("act-to-mask").length > 0);
    later.push(await page.evaluate(() => performance.getEntriesByName("act-to-mask")[0].duration));
    // A person pauses, and a long list of clicks is another task.
    if (n % 6 === 5) {
      await page.keyboard.press("r");
      await settled(page);
    }
    await page.waitForTimeout(150);
  }
  const round = (value) => Math.round(value * 10) / 10;
  const show = (values) => Object.fromEntries(Object.entries(quantiles(values)).map(([k, v]) => [k, round(v)]));
  console.log(
    JSON.stringify({ open_to_first_mask_ms: first.map(round), click_to_mask_ms: show(later), clicks: later.length }),
  );
  await server.stop();
  server = null;
} finally {
  await browser?.close();
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
}
