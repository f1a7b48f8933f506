"""A hub's money without a hub: holds, spends at a provider that keeps a journal, settles; for ever.

    python money_writer.py HOME JOURNAL SEED

The journal is the truth: `C id cost` is written when the provider charges, between the hold and
the settlement; `A id cost` when the settlement was told to be durable; `R id` a release. Each line
is one write to the system, so that a kill loses none. On stdout: the database's pid, once it runs.
"""

import asyncio
import os
import random
import sys
import time
from pathlib import Path

from support.money import FACTS, budget, hold, settlement

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.store import open_store

LIMIT = 2_000_000_000
BUDGETS = (budget("all", LIMIT), budget("other", LIMIT))
CALLERS = 50


class Caller:
    def __init__(self, ledger, journal, name, boot):
        self.ledger, self.journal, self.boot = ledger, journal, boot
        self.chance, self.name, self.calls = random.Random(name), name, 0

    def begin(self, _=None):
        self.calls += 1
        self.id = f"{self.name}-{self.calls}"
        self.amount = self.chance.randint(1, 1_000)
        at_s = int(time.time())
        one = hold(self.id, self.amount, *BUDGETS, at_s=at_s, facts=FACTS, boot=self.boot,
                   expires_at_s=at_s + 600)  # fmt: skip
        self.ledger.reserve(one, self.held)

    def held(self, told):
        if told is not None:
            asyncio.get_running_loop().call_later(0.05, self.begin)
        elif self.chance.random() < 0.1:
            self.write(f"R {self.id}")
            self.ledger.release(self.id, (), self.begin)
        else:
            self.cost = self.chance.randint(0, self.amount)
            self.write(f"C {self.id} {self.cost}")
            if self.chance.random() < 0.1:
                self.ledger.settle(settlement(self.id, self.cost), lambda _: None)
            self.ledger.settle(settlement(self.id, self.cost), self.settled)

    def settled(self, told):
        if told is None:
            self.write(f"A {self.id} {self.cost}")
        self.begin()

    def write(self, line):
        os.write(self.journal, f"{line}\n".encode())


async def main(home, journal, seed):
    while True:
        try:
            async with open_store(Path(home)) as store:
                await work(store, journal, seed)
        except StorageFailed:  # The database of the one before still writes what it was handed.
            await asyncio.sleep(0.05)


async def work(store, journal, seed):
    ledger = store.ledger
    for one in BUDGETS:
        await ledger.put_budget(one)
    await ledger.recover(seed, ledger.now_s())
    print(store.process.pid, flush=True)
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in range(CALLERS):
        Caller(ledger, file, f"{seed}-{number}", seed).begin()
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
