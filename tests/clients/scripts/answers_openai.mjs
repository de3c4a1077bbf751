// Streams answers with the OpenAI SDK, one after the other: BASE_URL OPTIONS
// CASE…, each case a JSON object; see llm.rs.
import OpenAI from 'openai';

import { report } from './report.mjs';

const [url, options, ...cases] = process.argv.slice(2);
const { api, retries } = JSON.parse(options);

const textOf = (event) =>
  event.choices ? event.choices[0]?.delta.content : event.type === 'response.output_text.delta' ? event.delta : null;

for (const { path, key, as = 'none' } of cases.map((text) => JSON.parse(text))) {
  const client = new OpenAI({ baseURL: `${url}/${path}`, apiKey: as, maxRetries: retries });
  const headers = key ? { 'Idempotency-Key': key } : {};
  let text = '';
  let error = null;
  try {
    const events =
      api === 'responses'
        ? await client.responses.create({ model: 'none', input: 'count', stream: true }, { headers })
        : await client.chat.completions.create(
            { model: 'none', messages: [{ role: 'user', content: 'count' }], stream: true },
            { headers },
          );
    for await (const event of events) {
      const part = textOf(event);
      if (!part) continue;
      text += part;
      report('delta', { text: part });
    }
  } catch (thrown) {
    error = `${thrown.name}: ${thrown.message}`;
  }
  report('answer', { path, text, error });
}
