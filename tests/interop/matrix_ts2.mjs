// The TypeScript client of both eras (SDK v2) does everything with each server.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { ANSWERS, CAPABILITIES, drive } from './matrix.mjs';

const wish = JSON.parse(process.argv[2]);
const versionNegotiation = { mode: wish.mode };
const options = { capabilities: CAPABILITIES, versionNegotiation };
const client = new Client({ name: 'matrix-ts2', version: '1.0.0' }, options);
for (const [method, answer] of Object.entries(ANSWERS)) client.setRequestHandler(method, answer);
await client.connect(new StreamableHTTPClientTransport(new URL(wish.url)));
const version = client.getNegotiatedProtocolVersion();
const dialect = {
  call: (params, more) => client.callTool(params, more),
  async watch(uri, hear) {
    client.setNotificationHandler('notifications/resources/updated', (note) => hear(note.params.uri));
    if (version !== '2026-07-28') {
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    }
    const subscription = await client.listen({ resourceSubscriptions: [uri] });
    return () => subscription.close();
  },
};
const problems = await drive(client, dialect, wish);
console.log(JSON.stringify({ version, problems }));
process.exit();
