// A real authorization server: panva's oidc-provider, with nobody's data in it.
//
// node oidc.mjs '{"url": "http://127.0.0.1:N", "lasts": 4}'
//
// Tokens are JWTs for one resource. POST /test/revoke ends every sign-in; it is no part of OAuth.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const { url, lasts, registration } = JSON.parse(process.argv[2]);
const scope = 'agenthub:tools notes:read notes:write';
const refresh = new Set();

const provider = new Provider(url, {
  clients: [
    {
      client_id: 'machine',
      client_secret: 'secret-of-the-machine',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    registration: { enabled: registration !== false },
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
provider.on('refresh_token.saved', (token) => refresh.add(token));

const answer = provider.callback();
createServer(async (request, response) => {
  if (request.method === 'POST' && request.url === '/test/revoke') {
    for (const token of refresh) await token.destroy();
    refresh.clear();
    response.end('{}');
    return;
  }
  await answer(request, response);
}).listen(Number(new URL(url).port), '127.0.0.1', () => console.log('ready'));
