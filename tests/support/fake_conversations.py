"""conversations.ConversationStorage in dicts."""

from msgspec import structs

from agenthub.conversations import MESSAGES_MAX, RunState, Said
from agenthub.domain.errors import StorageFailed


class FakeConversations:
    def __init__(self, most=10_000):
        self.known, self.said, self.kept_runs = {}, {}, {}
        self.most, self.broken = most, False

    def _check(self):
        if self.broken:
            raise StorageFailed("The disk is full.")

    def _ordered(self):
        return sorted(self.known.values(), key=lambda one: (one.changed_at_s, one.id), reverse=True)

    async def find(self, conversation):
        return self.known.get(conversation)

    async def list(self, caller, *, limit, before=None):
        found = [
            one
            for one in self._ordered()
            if (caller is None or one.caller == caller)
            and (before is None or (one.changed_at_s, one.id) < before)
        ]
        return found[:limit]

    def _set(self, conversation, **more):
        self.known[conversation] = structs.replace(self.known[conversation], **more)

    async def rename(self, conversation, title, now_s):
        if conversation not in self.known:
            return False
        changed = max(now_s, self.known[conversation].changed_at_s)
        self._set(conversation, title=title, changed_at_s=changed)
        return True

    async def delete(self, conversation):
        self.said.pop(conversation, None)
        runs = self.kept_runs
        self.kept_runs = {k: one for k, one in runs.items() if one.conversation != conversation}
        return self.known.pop(conversation, None) is not None

    async def add(self, conversation, run, messages, now_s):
        self._check()
        if conversation not in self.known:
            return None
        said = self.said[conversation]
        if len(said) + len(messages) > MESSAGES_MAX:
            return None
        said += [Said(len(said) + n, run, now_s, one) for n, one in enumerate(messages, 1)]
        changed = max(now_s, self.known[conversation].changed_at_s)
        self._set(conversation, messages=len(said), changed_at_s=changed)
        return len(said)

    async def messages(self, conversation, *, after=0, limit=1_000):
        said = self.said.get(conversation, [])
        return [one for one in said if one.number > after][:limit]

    async def summarise(self, conversation, summary, number):
        if conversation in self.known and self.known[conversation].summarised < number:
            self._set(conversation, summary=summary, summarised=number)

    async def begin(self, run, message, new=None):
        self._check()
        if new is not None:
            self.known.setdefault(new.id, new)
            self.said.setdefault(new.id, [])
        if await self.add(run.conversation, run.id, [message], run.started_at_s) is None:
            return False
        self.kept_runs.setdefault(run.id, run)
        for old in self._ordered()[self.most :] if new else ():
            await self.delete(old.id)
        return True

    async def end(self, run, state, problem, now_s):
        self._check()
        if run in self.kept_runs and self.kept_runs[run].state is RunState.RUNNING:
            ended = structs.replace(
                self.kept_runs[run], state=state, problem=problem, ended_at_s=now_s
            )
            self.kept_runs[run] = ended

    async def find_run(self, run):
        return self.kept_runs.get(run)

    async def runs(self, conversation):
        found = [one for one in self.kept_runs.values() if one.conversation == conversation]
        return found[::-1]

    async def interrupt(self, now_s):
        running = [one for one in self.kept_runs.values() if one.state is RunState.RUNNING]
        for one in running:
            await self.end(one.id, RunState.INTERRUPTED, "", now_s)
        return len(running)
