// The page of ../use_chat.rs: one chat with `useChat`, as its documentation has
// it. The URL's query says which: `id`, `stored` (messages the application keeps),
// `as` (the credential), `alone` (it does not ask for a running answer).
import { useChat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';
import { createElement, useEffect } from 'react';
import { createRoot } from 'react-dom/client';

const query = new URLSearchParams(location.search);
const headers = { Authorization: `Bearer ${query.get('as') ?? 'none'}` };
const transport = new DefaultChatTransport({ api: '/api/chat', headers });

const text = ({ parts }) =>
  parts.filter(({ type }) => type === 'text').map((part) => part.text).join('');
const answers = (messages) => messages.filter(({ role }) => role === 'assistant').map(text);

function Chat() {
  const chat = useChat({
    id: query.get('id'),
    messages: JSON.parse(query.get('stored') ?? '[]'),
    resume: !query.has('alone'),
    transport,
    onFinish: ({ isError, messages }) =>
      report('end', { status: isError ? 'error' : 'ready', answers: answers(messages) }),
  });
  globalThis.chat = chat;
  const { messages, status, error } = chat;
  useEffect(() => {
    report('state', { status, error: error ? String(error) : null, answers: answers(messages) });
    mounted = true;
  }, [messages, status, error]);
  return null;
}

// What a stop button does: this page first, then the stream.
globalThis.stopChat = async () => {
  await chat.stop();
  const { status } = await fetch(`/api/chat/${query.get('id')}/stream`, { method: 'DELETE', headers });
  report('stopped', { status, chat: globalThis.chat.status });
};

// Whether the chat is there, and its request for a running answer was answered.
let mounted = false;
globalThis.attach = null;
globalThis.opened = () => mounted && (query.has('alone') || attach);
const { fetch: realFetch } = globalThis;
globalThis.fetch = async (...request) => {
  const response = await realFetch(...request);
  if (request[1]?.method === 'GET') globalThis.attach = response.status;
  return response;
};

createRoot(document.getElementById('chat')).render(createElement(Chat));
