// Streams answers with @microsoft/fetch-event-source, one after the other:
// BASE_URL OPTIONS CASE…, each case a JSON object; see llm.rs. `retries` is how
// often in a row it may POST again without an event between; by default the
// library does so for ever.
import { report } from './report.mjs';

globalThis.document = Object.assign(new EventTarget(), { hidden: false });
globalThis.window = globalThis;
const { fetchEventSource } = await import('@microsoft/fetch-event-source');

const [url, options, ...cases] = process.argv.slice(2);
const { retries } = JSON.parse(options);

for (const { path, key, as = 'none', after } of cases.map((text) => JSON.parse(text))) {
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${as}` };
  if (key) headers['Idempotency-Key'] = key;
  if (after) headers['Last-Event-ID'] = after;
  let text = '';
  let error = null;
  let lastId = null;
  let failures = 0;
  try {
    await fetchEventSource(`${url}/${path}/chat/completions`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ prompt: 'count' }),
      async onopen(response) {
        if (!response.ok) throw new Error(`status ${response.status}`);
      },
      onmessage({ data, id }) {
        failures = 0;
        lastId = id;
        if (data === '[DONE]') return;
        const part = JSON.parse(data).choices[0]?.delta.content;
        if (!part) return;
        text += part;
        report('delta', { text: part });
      },
      onerror(thrown) {
        if (failures >= retries) throw thrown;
        failures += 1;
        return 10; // Milliseconds until it POSTs again.
      },
    });
  } catch (thrown) {
    error = `${thrown.name}: ${thrown.message}`;
  }
  report('answer', { path, text, error, lastId });
}
