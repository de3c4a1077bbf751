// Opens a URL in Chromium and passes on what the page reports, until its input
// ends.
import { chromium } from 'playwright-core';

import { report } from './report.mjs';

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Nothing but the page may talk to the network, and root has no sandbox.
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
const page = await browser.newPage();
page.on('pageerror', (error) => report('page-error', { message: String(error) }));
await page.exposeFunction('report', report);
await page.goto(process.argv[2]);

for await (const _ of process.stdin);
await browser.close();
