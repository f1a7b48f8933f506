import pytest

from agenthub.settings import Options


def test_serve_hands_its_options_to_the_hub_and_ends_with_its_code(cli, module, home, tmp_path,
                                                                   monkeypatch):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    module.code = 3
    ended = cli("serve", "--host", "::1", "--port", "0", "--config", "a.yaml", "--no-demo")
    assert ended.code == 3
    config = (tmp_path / "a.yaml").absolute()
    assert module.options == [("serve", Options(home, config, "::1", 0, demo=False))]


def test_stdio_too(cli, module, home):
    assert cli("stdio").code == 0
    assert cli("stdio", "--view", "web").code == 0
    given = Options(home, None)
    assert module.options == [("stdio", given, None), ("stdio", given, "web")]


def test_what_is_not_said_is_left_to_the_settings(cli, module, home):
    cli("serve")
    assert module.options == [("serve", Options(home, None, None, None, None))]


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_wrong_port_is_wrong_usage(cli, module, port):
    assert cli("serve", "--port", port).code == 2
    assert module.options == []
