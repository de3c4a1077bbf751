// Reads a URL with an npm `eventsource`: PACKAGE URL [TYPE…]. Ends itself after
// an event of type `end`, as an application that knows when it is done would.
import { report } from './report.mjs';

const [name, url, ...types] = process.argv.slice(2);
const { EventSource } = await import(name);
const source = new EventSource(url);
// Version 5 lets a process end that has nothing to do but wait to reconnect.
const alive = setInterval(() => {}, 60_000);

source.onopen = () => report('open');
source.onerror = (error) => report('error', { readyState: source.readyState, message: error.message });
for (const type of ['message', ...types]) {
  source.addEventListener(type, ({ data, lastEventId }) => {
    report('message', { type, data, lastEventId });
    if (type !== 'end') return;
    source.close();
    clearInterval(alive);
  });
}
