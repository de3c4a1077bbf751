// An `EventSource` of a compressed stream in Chromium, until its input ends.
import { launch } from './chromium.mjs';
import { report } from './report.mjs';

const url = process.argv[2];
const { browser, page } = await launch();
await page.exposeFunction('report', report);
page.on('response', (response) => {
  if (response.url().endsWith('/numbers')) {
    report('answer', { coding: response.headers()['content-encoding'] ?? '' });
  }
});
// A page of the same origin, for which the backend has no answer.
await page.route(`${url}/`, (route) =>
  route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
);
await page.goto(`${url}/`);
await page.evaluate(() => {
  const source = new EventSource('/numbers');
  source.onopen = () => report('open');
  source.onerror = () => report('error', { readyState: source.readyState });
  source.onmessage = ({ data, lastEventId }) => report('message', { data, lastEventId });
});

for await (const _ of process.stdin);
await browser.close();
