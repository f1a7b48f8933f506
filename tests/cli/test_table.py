from agenthub.cli.table import columns, show_table

ROWS = [["a", "ok", "a long story about it"], ["weather", "down", "short"]]


def test_a_pipe_gets_aligned_plain_text_uncut(capsys):
    show_table(["name", "health", "why"], ROWS)
    assert capsys.readouterr().out == (
        "NAME     HEALTH  WHY\n"
        "a        ok      a long story about it\n"
        "weather  down    short\n"
    )  # fmt: skip


def test_a_terminal_gets_colours_and_what_fits(terminal, monkeypatch):
    out, _ = terminal()
    monkeypatch.setenv("COLUMNS", "33")
    show_table(["name", "health", "why"], ROWS)
    head, first, second = out.getvalue().splitlines()
    assert "\x1b[2mNAME\x1b[0m" in head
    assert first == "a        \x1b[32mok\x1b[0m      a long story ab…"
    assert "\x1b[31mdown\x1b[0m" in second


def test_a_narrow_terminal_still_shows_some_of_the_last_column(terminal, monkeypatch):
    out, _ = terminal()
    monkeypatch.setenv("COLUMNS", "5")
    show_table(["name", "health", "why"], ROWS)
    assert "a long stor…" in out.getvalue()


def test_without_rows_there_are_heads(capsys):
    show_table(["name", "why"], [])
    assert capsys.readouterr().out == "NAME  WHY\n"


def test_hostile_cells_stay_in_their_line(capsys):
    show_table(["name"], [["a\n\x1b[31mb"]])
    assert capsys.readouterr().out.splitlines()[1] == "a �[31mb"


def test_wide_and_combining_characters_are_counted_as_they_look(terminal, monkeypatch):
    out, _ = terminal()
    assert [columns(text) for text in ("ab", "날씨", "e\u0301")] == [2, 4, 1]
    monkeypatch.setenv("COLUMNS", "14")
    show_table(["n", "w"], [["a", "날씨날씨날씨날씨"]])
    assert out.getvalue().splitlines()[1] == "a  날씨날씨날…"
