// A backend of several equal processes: event N is what the clock says, so all
// of them have the same events, and each goes on after any Last-Event-ID. PORT.
import express from 'express';

import { report } from './report.mjs';

const EACH_MS = 200;

const app = express();
const newest = () => Math.floor(Date.now() / EACH_MS);

app.get('/healthz', (_req, res) => res.send('well'));

app.get('/events', (req, res) => {
  const { authorization, origin } = req.headers;
  report('request', { lastEventId: req.get('Last-Event-ID') ?? null, authorization, origin });
  res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  res.flushHeaders();

  let sent = Number(req.get('Last-Event-ID') ?? newest());
  const goOn = () => {
    for (const last = newest(); sent < last; ) {
      sent += 1;
      const price = { tick: sent, padding: 'x'.repeat(200) };
      res.write(`id: ${sent}\ndata: ${JSON.stringify(price)}\n\n`);
    }
  };
  goOn();
  const timer = setInterval(goOn, EACH_MS);
  res.on('close', () => clearInterval(timer));
});

const server = app.listen(Number(process.argv[2]), '127.0.0.1', (error) => {
  if (error) throw error;
  report('listening', { port: server.address().port });
});
