// What both TypeScript clients do once they are connected.
export async function talk(client, wish, version, call) {
  const options = wish.progress ? { onprogress: () => {} } : undefined;
  const told = { version, tools: (await client.listTools()).tools.map((tool) => tool.name) };
  if (wish.all_lists) {
    told.prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name);
    told.resources = (await client.listResources()).resources.map((resource) => resource.uri);
  }
  told.answers = [];
  for (const [name, args] of wish.calls) {
    const result = await call({ name, arguments: args }, options);
    const text = result.content.map((part) => part.text ?? '').join('');
    told.answers.push({ text, error: result.isError ?? false });
  }
  return told;
}
