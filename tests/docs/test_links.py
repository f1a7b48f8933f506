"""Every link of the docs leads somewhere, and every word of the index is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if heading and file.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert heading in slugs, f"{page.name}: {target}"


def test_every_decision_is_in_the_index_in_the_order_of_their_numbers():
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    files = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    first = [
        path.read_text().partition("\n")[0].removeprefix("# ").split(". ", 1) for path in files
    ]
    assert [int(number) for number, _ in first] == list(range(1, len(files) + 1))
    lines = [
        f"{number}. [{title}]({path.name})"
        for (number, title), path in zip(first, files, strict=True)
    ]
    assert index.partition("1. [")[1:] == ("1. [", "\n".join(lines).removeprefix("1. [") + "\n")


@pytest.mark.parametrize("folder", ["howto", "reference"])
def test_every_page_is_linked_from_the_readme(folder):
    readme = (ROOT / "README.md").read_text() + (ROOT / "SECURITY.md").read_text()
    pages = sorted((ROOT / "docs" / folder).glob("*.md"))
    missing = [page.name for page in pages if f"docs/{folder}/{page.name}" not in readme]
    assert missing == []


def test_every_dependency_has_its_line_of_reason():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    why = (ROOT / "docs" / "why.md").read_text()
    names = [re.split(r"[<>=\[ ]", line)[0] for line in project["project"]["dependencies"]]
    names += [re.split(r"[<>=\[ ]", line)[0] for line in project["dependency-groups"]["dev"]]
    assert not [name for name in names if name not in why]
