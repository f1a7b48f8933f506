// A real authorization server: panva's oidc-provider, with nobody's data in it.
//
// node oidc.mjs '{"url": "http://127.0.0.1:N", "lasts": 4}'
//
// Tokens are JWTs for one resource. `hub` is where the hub really listens: there its metadata
// document is read, whatever name it stands under. No part of OAuth: POST /test/revoke ends every
// sign-in, GET /test/live counts those that live.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const { url, lasts, hub, public: named } = JSON.parse(process.argv[2]);
const scope = 'agenthub:tools notes:read notes:write';
const refresh = new Map(); // By sign-in, the token that is good now.

const provider = new Provider(url, {
  clients: [
    {
      client_id: 'machine',
      client_secret: 'secret-of-the-machine',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
    {
      client_id: 'known',
      client_secret: 'secret-of-the-known',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [`${hub}/oauth/callback`],
      response_types: ['code'],
    },
  ],
  // Its own dispatcher keeps it from this machine, where the hub of the tests is.
  fetch: (address, { dispatcher, ...options }) =>
    fetch(String(address).replace(named, hub), options),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        scope,
        audience: resource,
        accessTokenTTL: lasts,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
      useGrantedResource: () => true,
    },
  },
  scopes: ['openid', 'offline_access', ...scope.split(' ')],
  pkce: { required: () => true },
  ttl: { ClientCredentials: lasts, AccessToken: lasts, Session: 600, Grant: 600, Interaction: 600 },
});
provider.on('refresh_token.saved', (token) => refresh.set(token.grantId, token));
provider.on('refresh_token.destroyed', (token) => refresh.delete(token.grantId));

const answer = provider.callback();
createServer(async (request, response) => {
  if (request.method === 'POST' && request.url === '/test/revoke') {
    for (const token of [...refresh.values()]) await token.destroy();
    response.end('{}');
    return;
  }
  if (request.url === '/test/live') {
    response.end(JSON.stringify(refresh.size));
    return;
  }
  await answer(request, response);
}).listen(Number(new URL(url).port), '127.0.0.1', () => console.log('ready'));
