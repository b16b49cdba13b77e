// The server and the browser that the tests drive.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  // Draws in 3-D on the processor.
  "--enable-unsafe-swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts `synthfm serve` on a free port, unless `args` name one; gives its address and ways to end it. */
export async function startServer(program, args) {
  const port = args.includes("--port") ? [] : ["--port", "0"];
  const child = spawn(program, ["serve", "--json", ...port, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  let text = "";
  for await (const line of createInterface({ input: child.stdout })) {
    text += line;
    if (line === "}") break;
  }
  const { url } = JSON.parse(text);
  return {
    url,
    kill: () => (child.kill("SIGKILL"), ended),
    stop: () => (child.kill("SIGINT"), ended),
  };
}

export async function startBrowser() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, headless: true, args: FLAGS });
}

/** A browser of its own that can be killed as a whole. */
export async function startKillable() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const running = await chromium.launchServer({ executablePath, headless: true, args: FLAGS });
  const browser = await chromium.connect(running.wsEndpoint());
  return { browser, kill: () => running.kill() };
}

/** Takes the page's files from a folder instead of the binary (PAGE=crates/synthfm-serve/src/page), to work on them. */
async function takePageFrom(page, folder, index) {
  const names = { "/": index };
  await page.route(
    ({ pathname }) => pathname === "/" || /^\/((js|texts)\/)?[a-z]+\.(js|css|svg|json)$/.test(pathname),
    (route) => {
      const { pathname } = new URL(route.request().url());
      return route.fulfill({ path: join(folder, names[pathname] ?? pathname) });
    },
  );
}

/** A page that fails the test when its scripts fail. */
export async function openPage(browser, options = {}, index = "index.html") {
  const context = await browser.newContext({
    viewport: { width: 1400, height: 900 },
    acceptDownloads: true,
    colorScheme: "dark",
    ...options,
  });
  const page = await context.newPage();
  if (process.env.PAGE) await takePageFrom(page, process.env.PAGE, index);
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error.stack ?? String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) page.errors.push(message.text());
  });
  return page;
}

/** Where a pixel of the shown slice lies on the screen. */
export async function screenOf(page, point, view = 0) {
  return page.evaluate(
    ([at, n]) => {
      const canvas = document.querySelectorAll(".view canvas")[n];
      const { left, top } = canvas.getBoundingClientRect();
      const [x, y] = window.synthfm.views[n].screenOf(at);
      return { x: left + x, y: top + y };
    },
    [point, view],
  );
}

export async function click(page, point, options = {}) {
  const { x, y } = await screenOf(page, point, options.view);
  await page.mouse.click(x, y, { button: options.button ?? "left" });
}

export async function drag(page, from, to, view = 0) {
  const [a, b] = [await screenOf(page, from, view), await screenOf(page, to, view)];
  await page.mouse.move(a.x, a.y);
  await page.mouse.down();
  for (let n = 1; n <= 8; n += 1) await page.mouse.move(a.x + ((b.x - a.x) * n) / 8, a.y + ((b.y - a.y) * n) / 8);
  await page.mouse.up();
}

/** Waits until the page says that everything is saved, then gives what is shown on the active slice. */
export async function settled(page) {
  await page.waitForFunction(() => {
    const study = window.synthfm.study;
    return study && !study.busy && document.getElementById("status").dataset.state === "saved";
  });
  return shown(page);
}

/** Pixels and prompts by structure on the active slice. */
export async function shown(page) {
  return page.evaluate(async () => {
    const { study, active } = window.synthfm;
    const place = study.place(active.plane, active.index);
    if (!place.loaded) await place.ready;
    return Object.fromEntries(
      [...place.entries].map(([id, { mask, prompts }]) => [
        id,
        {
          pixels: mask.pixels.reduce((sum, v) => sum + v, 0),
          points: prompts.points.length,
          labels: prompts.labels.join(""),
          box: prompts.box !== null,
        },
      ]),
    );
  });
}

/** Opens the case whose name contains a text. */
export async function openCase(page, name) {
  await page.evaluate((part) => {
    const { cases } = window.synthfm;
    return window.synthfm.open(cases.find((c) => c.name.includes(part)).id);
  }, name);
  await page.waitForFunction((part) => {
    const { study, active } = window.synthfm;
    return study?.details.name.includes(part) && active.slice && study.place(active.plane, active.index).loaded;
  }, name);
}

/** The middle 50 % and 95 % of numbers. */
export function quantiles(values) {
  assert(values.length > 0);
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
  return { median: at(0.5), p95: at(0.95) };
}
