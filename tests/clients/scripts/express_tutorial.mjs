// A backend as tutorials have it: an interval, `res.write`, no ids, no
// heartbeat, no thought of Last-Event-ID. PORT RUN; 0 takes a free port.
import express from 'express';

import { report } from './report.mjs';

const [port, run] = process.argv.slice(2);
const app = express();

app.get('/events', (req, res) => {
  report('request', { lastEventId: req.get('Last-Event-ID') ?? null });
  res.setHeader('Content-Type', 'text/event-stream');
  res.setHeader('Cache-Control', 'no-cache');
  res.setHeader('Connection', 'keep-alive');
  res.flushHeaders();

  let n = 0;
  const timer = setInterval(() => res.write(`data: run ${run}, tick ${++n}\n\n`), 20);
  res.on('close', () => clearInterval(timer));
});

// `report` is what browser.mjs gives the page.
app.get('/', (_req, res) => {
  res.send(`<!doctype html>
<title>Ticks</title>
<script>
  const source = new EventSource('/events');
  const tell = (event, fields) => report(event, { readyState: source.readyState, ...fields });
  source.onopen = () => tell('open');
  source.onerror = () => tell('error');
  source.onmessage = ({ data, lastEventId }) => tell('message', { data, lastEventId });
</script>`);
});

const server = app.listen(Number(port), '127.0.0.1', (error) => {
  if (error) throw error;
  report('listening', { port: server.address().port });
});
