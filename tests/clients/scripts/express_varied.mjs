// Every shape of event in Express; see VARIED in ../backends.rs.
import express from 'express';

import { report } from './report.mjs';

const app = express();

app.get('/events', (_req, res) => {
  res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  res.flushHeaders();
  res.write('data: plain\n\n');
  res.write('data: two\ndata: lines\n\n');
  res.write('event: named\ndata: grüße 🚀\n\n');
  res.write(': only a comment\n\n');
  res.write('id: a-1\nretry: 200\ndata: with id\n\n');
  res.write('data:   indented\n\n');
  res.write('data:\n\n');
  res.write('event: end\ndata: bye\n\n');
});

const server = app.listen(0, '127.0.0.1', (error) => {
  if (error) throw error;
  report('listening', { port: server.address().port });
});
