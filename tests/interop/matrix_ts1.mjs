// The TypeScript client of the old era (SDK v1) does everything with each server.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema,
  ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { ANSWERS, CAPABILITIES, drive } from './matrix.mjs';

const wish = JSON.parse(process.argv[2]);
const client = new Client({ name: 'matrix-ts1', version: '1.0.0' }, { capabilities: CAPABILITIES });
client.setRequestHandler(ElicitRequestSchema, ANSWERS['elicitation/create']);
client.setRequestHandler(CreateMessageRequestSchema, ANSWERS['sampling/createMessage']);
client.setRequestHandler(ListRootsRequestSchema, ANSWERS['roots/list']);
const transport = new StreamableHTTPClientTransport(new URL(wish.url));
await client.connect(transport);
const dialect = {
  call: (params, options) => client.callTool(params, undefined, options),
  async watch(uri, hear) {
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, (note) => hear(note.params.uri));
    await client.subscribeResource({ uri });
    return () => client.unsubscribeResource({ uri });
  },
};
const problems = await drive(client, dialect, wish);
console.log(JSON.stringify({ version: transport.protocolVersion, problems }));
process.exit();
