import pytest

from agenthub.app.vault_key import vault_key
from agenthub.domain.errors import StorageFailed


def test_it_is_made_once_and_nobody_else_can_read_it(tmp_path):
    key = vault_key(tmp_path)
    assert len(key) == 32
    assert vault_key(tmp_path) == key
    assert (tmp_path / "vault-key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!"])
def test_what_is_no_key_is_refused_not_replaced(tmp_path, text):
    vault_key(tmp_path)
    (tmp_path / "vault-key").write_text(text)
    with pytest.raises(StorageFailed, match="holds no key; remove it"):
        vault_key(tmp_path)
    assert (tmp_path / "vault-key").read_text() == text


def test_one_that_others_can_read_is_refused(tmp_path):
    vault_key(tmp_path)
    (tmp_path / "vault-key").chmod(0o644)
    with pytest.raises(StorageFailed, match="Other users may read"):
        vault_key(tmp_path)
