// Chromium with one page.
import { chromium } from 'playwright-core';

import { report } from './report.mjs';

export async function launch() {
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
  return { browser, page };
}
