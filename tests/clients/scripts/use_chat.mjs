// A page with `useChat` in Chromium: ORIGIN. Commands come as lines of JSON: the
// name of a function, and what it is given.
import { createInterface } from 'node:readline';

import { build } from 'esbuild';

import { launch } from './chromium.mjs';
import { report } from './report.mjs';

const [origin] = process.argv.slice(2);
const bundle = await build({
  entryPoints: [new URL('use_chat_page.mjs', import.meta.url).pathname],
  bundle: true,
  format: 'esm',
  write: false,
  define: { 'process.env.NODE_ENV': '"production"' },
});
const html = `<!doctype html><meta charset="utf-8"><div id="chat"></div>
<script type="module">${bundle.outputFiles[0].text.replaceAll('</script', '<\\/script')}</script>`;

const { browser, page } = await launch();
await page.exposeFunction('report', report);
await page.route('**/page?*', (route) => route.fulfill({ contentType: 'text/html', body: html }));

const commands = {
  async open({ stored, ...query }) {
    if (stored) query.stored = JSON.stringify(stored);
    await page.goto('about:blank');
    // What is reported from here on is not of the page that was left.
    report('left');
    await page.goto(`${origin}/page?${new URLSearchParams(query)}`);
    await page.waitForFunction(() => globalThis.opened?.());
    report('opened', { attach: await page.evaluate(() => globalThis.attach) });
  },
  send: ({ text }) => page.evaluate((text) => void chat.sendMessage({ text }), text),
  resume: () => page.evaluate(() => void chat.resumeStream()),
  stop: () => page.evaluate(() => void stopChat()),
};

report('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = JSON.parse(line);
  await commands[command](argument);
}
await browser.close();
