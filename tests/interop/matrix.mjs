// What both TypeScript clients do with each server behind the hub, in one connection.
import assert from 'node:assert/strict';

export const CAPABILITIES = { elicitation: { form: {} }, sampling: {}, roots: {} };
export const ANSWERS = {
  'elicitation/create': async () => ({ action: 'accept', content: { town: 'Seoul' } }),
  'sampling/createMessage': async () => ({
    role: 'assistant', model: 'a model', content: { type: 'text', text: 'blue' },
  }),
  'roots/list': async () => ({ roots: [{ uri: 'file:///home/matrix' }] }),
};

const FEATURE_MS = 15_000;

// `dialect` is what the two libraries write differently: how to call and how to watch a resource.
export async function drive(client, dialect, wish) {
  const problems = {};
  for (const server of wish.servers) {
    problems[server] = {};
    for (const feature of wish.features) {
      const timeout = new Promise((_, reject) => {
        setTimeout(() => reject(new Error(`not within ${FEATURE_MS} ms`)), FEATURE_MS).unref();
      });
      try {
        await Promise.race([FEATURES[feature](client, dialect, server, wish.tag), timeout]);
        problems[server][feature] = '';
      } catch (problem) {
        problems[server][feature] = `${problem.name}: ${problem.message}`.slice(0, 400);
      }
    }
  }
  return problems;
}

async function say(dialect, server, tool, word, options = {}) {
  const result = await dialect.call({ name: `${server}__${tool}`, arguments: { word } }, options);
  return result.content.map((part) => part.text ?? '').join('');
}

const FEATURES = {
  async list(client, dialect, server) {
    const names = (await client.listTools()).tools.map((tool) => tool.name);
    assert(names.includes(`${server}__echo`), `${names}`);
  },
  async echo(client, dialect, server, word) {
    assert.equal(await say(dialect, server, 'echo', word), `echo ${word}`);
  },
  async progress(client, dialect, server, word) {
    const seen = [];
    const onprogress = (note) => seen.push(note.progress);
    assert.equal(await say(dialect, server, 'progress', word, { onprogress }), 'progress done');
    assert.deepEqual(seen, [1, 2, 3]);
  },
  async elicit(client, dialect, server, word) {
    assert.equal(await say(dialect, server, 'elicit', word), 'elicit Seoul');
  },
  async sample(client, dialect, server, word) {
    assert.equal(await say(dialect, server, 'sample', word), 'sample blue');
  },
  async roots(client, dialect, server, word) {
    assert.equal(await say(dialect, server, 'roots', word), 'roots file:///home/matrix');
  },
  // Gives the call up as soon as it has begun; the server writes down that it heard.
  async cancel(client, dialect, server, word) {
    const abort = new AbortController();
    const options = { onprogress: () => abort.abort(), signal: abort.signal };
    await assert.rejects(say(dialect, server, 'wait', word, options));
    assert(abort.signal.aborted, 'the call ended before it was given up');
  },
  async subscribe(client, dialect, server, word) {
    const { resources } = await client.listResources();
    const { uri } = resources.find((one) => one.uri.endsWith(`${server}/watched`));
    let hear;
    const heard = new Promise((resolve) => { hear = resolve; });
    const stop = await dialect.watch(uri, (updated) => { if (updated === uri) hear(); });
    await say(dialect, server, 'touch', word);
    await heard;
    await stop();
  },
};
