// Runs subscriptions with graphql-sse, one after the other: BASE_URL OPTIONS
// CASE…, each case a JSON object; see llm.rs.
import { createClient } from 'graphql-sse';

import { report } from './report.mjs';

const [url, options, ...cases] = process.argv.slice(2);
const { retries, leave } = JSON.parse(options);

for (const { path, key, as = 'none' } of cases.map((text) => JSON.parse(text))) {
  const headers = { Authorization: `Bearer ${as}` };
  if (key) headers['Idempotency-Key'] = key;
  const client = createClient({
    url: `${url}/${path}/graphql`,
    headers,
    retryAttempts: retries,
    retry: async () => {}, // At once; by default after seconds.
  });
  let text = '';
  const error = await new Promise((resolve) => {
    const unsubscribe = client.subscribe(
      { query: 'subscription { words }' },
      {
        next({ data }) {
          text += data.words;
          report('delta', { text: data.words });
          if (data.words === leave) unsubscribe();
        },
        error: (thrown) => resolve(`${thrown.name}: ${thrown.message}`),
        complete: () => resolve(null),
      },
    );
  });
  report('answer', { path, text, error });
}
