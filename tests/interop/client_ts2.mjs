// The TypeScript client of both eras (SDK v2): does what a `Wish` says, tells what it got.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { talk } from './talk.mjs';

const wish = JSON.parse(process.argv[2]);
const headers = wish.key ? { Authorization: `Bearer ${wish.key}` } : {};
const mode = ['auto', 'legacy'].includes(wish.mode) ? wish.mode : { pin: wish.mode };
const client = new Client({ name: 'interop-ts2', version: '1.0.0' }, { versionNegotiation: { mode } });
const transport = new StreamableHTTPClientTransport(new URL(wish.url), { requestInit: { headers } });
await client.connect(transport);
const call = (params, options) => client.callTool(params, options);
const version = client.getNegotiatedProtocolVersion();
console.log(JSON.stringify(await talk(client, wish, version, call)));
await client.close();
