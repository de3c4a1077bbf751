// Asks for a completion with @microsoft/fetch-event-source, as its README does:
// by default it POSTs again whenever the connection fails.
import { report } from './report.mjs';

// All that the library wants of a browser: a document that can be hidden, and
// timers and fetch on the window.
globalThis.document = Object.assign(new EventTarget(), { hidden: false });
globalThis.window = globalThis;

const { fetchEventSource } = await import('@microsoft/fetch-event-source');

await fetchEventSource(process.argv[2], {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ prompt: 'count' }),
  async onopen(response) {
    report('open', { status: response.status, resume: response.headers.get('sse-resume') });
  },
  onmessage: ({ event, data, id }) => report('message', { type: event, data, id }),
  onclose: () => report('close'),
  onerror: (error) => report('error', { message: error.message }),
});
report('resolved');
