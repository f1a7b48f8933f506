// The TypeScript client of the legacy era (SDK v1): does what a `Wish` says, tells what it got.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { talk } from './talk.mjs';

const wish = JSON.parse(process.argv[2]);
const headers = wish.key ? { Authorization: `Bearer ${wish.key}` } : {};
const client = new Client({ name: 'interop-ts1', version: '1.0.0' });
const transport = new StreamableHTTPClientTransport(new URL(wish.url), { requestInit: { headers } });
await client.connect(transport);
const call = (params, options) => client.callTool(params, undefined, options);
console.log(JSON.stringify(await talk(client, wish, transport.protocolVersion, call)));
await client.close();
