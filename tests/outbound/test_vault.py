import pytest
from support.fake_store import FakeStore

from agenthub.domain.errors import StorageFailed
from agenthub.outbound.vault import Vault

KEY = b"k" * 32
SECRET = {"access": "canary"}


def vault(store, key=KEY):
    return Vault(dict(store.secrets), store, lambda: key)


@pytest.fixture
def store():
    return FakeStore()


async def test_what_was_written_is_read_after_a_restart(store):
    first = vault(store)
    await first.write("git", "here", SECRET)
    assert first.read("git", "here") == SECRET
    again = vault(store)
    assert again.read("git", "here") == SECRET
    assert again.names() == ["git"]


async def test_the_database_alone_tells_nothing(store):
    await vault(store).write("git", "here", SECRET)
    sealed = store.secrets["oauth:git"]
    assert b"canary" not in sealed
    await vault(store).write("git", "here", SECRET)
    assert store.secrets["oauth:git"] != sealed


@pytest.mark.parametrize(
    ("name", "place", "key"), [("git", "there", KEY), ("git", "here", b"x" * 32)]
)
async def test_under_another_place_or_key_it_cannot_be_read(store, name, place, key):
    await vault(store).write("git", "here", SECRET)
    assert vault(store, key).read(name, place) is None


async def test_what_was_moved_or_edited_in_the_database_cannot_be_read(store):
    await vault(store).write("git", "here", SECRET)
    sealed = store.secrets["oauth:git"]
    store.secrets |= {"oauth:other": sealed, "oauth:short": b"x", "oauth:git": sealed[:-1] + b"x"}
    moved = vault(store)
    assert [moved.read(name, "here") for name in ("other", "short", "git")] == [None] * 3


async def test_what_was_forgotten_is_gone_before_it_is_durably_gone(store):
    one = vault(store)
    await one.write("git", "here", SECRET)
    gone = one.forget("git")
    assert (one.read("git", "here"), one.names()) == (None, [])
    await gone
    assert "oauth:git" not in store.secrets
    await one.forget("never-there")


async def test_what_could_not_be_kept_is_good_until_the_hub_stops(store):
    one = vault(store)
    store.broken = True
    with pytest.raises(StorageFailed):
        await one.write("git", "here", SECRET)
    assert one.read("git", "here") == SECRET
    assert vault(store).read("git", "here") is None


async def test_the_key_is_not_made_before_it_is_needed(store):
    def key():
        raise StorageFailed

    idle = Vault({"session": b"x"}, store, key)
    assert (idle.read("git", "here"), idle.names()) == (None, [])
    with pytest.raises(StorageFailed):
        await idle.write("git", "here", SECRET)
