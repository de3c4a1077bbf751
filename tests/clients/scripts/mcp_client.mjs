// Calls a slow tool with an MCP TypeScript SDK, then ends its session:
// VERSION URL MODE CALLS STEPS TIMEOUT.
import { report } from './report.mjs';

const [version, url, mode, calls, steps, timeout] = process.argv.slice(2);

const v1 = {
  load: async () => ({
    ...(await import('@modelcontextprotocol/sdk/client/index.js')),
    ...(await import('@modelcontextprotocol/sdk/client/streamableHttp.js')),
  }),
  call: (client, request, options) => client.callTool(request, undefined, options),
};
const v2 = {
  load: () => import('@modelcontextprotocol/client'),
  call: (client, request, options) => client.callTool(request, options),
};
const sdk = { v1, v2 }[version];

const { Client, StreamableHTTPClientTransport } = await sdk.load();
const transport = new StreamableHTTPClientTransport(new URL(url));
const versionNegotiation = { mode: mode === 'legacy' ? mode : { pin: mode } };
const client = new Client({ name: 'counting', version: '1' }, { versionNegotiation });
client.onerror = (error) => report('trouble', { message: error.message });
await client.connect(transport);
report('connected', { version: transport.protocolVersion });

for (let call = 1; call <= Number(calls); call++) {
  const options = {
    timeout: Number(timeout) * 1000,
    onprogress: ({ progress }) => report('progress', { call, progress }),
    onresumptiontoken: (id) => report('token', { call, id }),
  };
  try {
    const request = { name: 'count', arguments: { steps: Number(steps) } };
    const { content } = await sdk.call(client, request, options);
    report('result', { call, text: content[0].text });
  } catch (error) {
    report('error', { call, type: error.constructor.name, message: error.message });
  }
}

await transport.terminateSession();
await client.close();
report('closed');
