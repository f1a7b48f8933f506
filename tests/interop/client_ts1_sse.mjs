// The TypeScript client (SDK v1) over HTTP+SSE of 2024-11-05: does what a `Wish` says.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { talk } from './talk.mjs';

const wish = JSON.parse(process.argv[2]);
const headers = wish.key ? { Authorization: `Bearer ${wish.key}` } : {};
const client = new Client({ name: 'interop-ts1-sse', version: '1.0.0' });
const transport = new SSEClientTransport(new URL(wish.url), { requestInit: { headers } });
let version;
transport.setProtocolVersion = (said) => { version = said; };
await client.connect(transport);
const call = (params, options) => client.callTool(params, undefined, options);
console.log(JSON.stringify(await talk(client, wish, version, call)));
await client.close();
