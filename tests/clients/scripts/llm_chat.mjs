// The page of examples/llm_chat.rs in Chromium, as a user would: ORIGIN.
import { launch } from './chromium.mjs';
import { report } from './report.mjs';

const [origin] = process.argv.slice(2);
const { browser } = await launch();
const context = await browser.newContext();
context.on('weberror', (error) => report('page-error', { message: String(error.error()) }));
const first = await context.newPage();

const text = (page, selector) => page.textContent(selector);
const words = (page, count) =>
  page.waitForFunction((count) => document.querySelector('#answer').textContent.split(' ').length > count, count);
const state = (page, start) =>
  page.waitForFunction((start) => document.querySelector('#state').textContent.startsWith(start), start);
const ask = async (page, question) => {
  await page.fill('input', question);
  await page.click('form button:first-of-type');
  // Until then the page shows the answer to the one before.
  await page.waitForFunction((asked) => document.querySelector('#question').textContent === asked, question);
};

await first.goto(origin);
await ask(first, 'What about closed tabs?');
await words(first, 3);
report('closed', { answer: await text(first, '#answer'), state: await text(first, '#state') });

// In the same browser, after the tab was closed.
const second = await context.newPage();
await first.close();
await second.goto(origin);
await state(second, 'done');
report('back', { question: await text(second, '#question'), answer: await text(second, '#answer') });

await ask(second, 'And stopping?');
await words(second, 3);
await second.click('#stop');
await state(second, 'broken off');
report('stopped', { answer: await text(second, '#answer') });
await second.reload();
await state(second, 'broken off');
report('reloaded', { answer: await text(second, '#answer') });
await browser.close();
