// Opens a URL in Chromium and passes on what the page reports, until its input
// ends.
import { launch } from './chromium.mjs';
import { report } from './report.mjs';

const { browser, page } = await launch();
await page.exposeFunction('report', report);
await page.goto(process.argv[2]);

for await (const _ of process.stdin);
await browser.close();
