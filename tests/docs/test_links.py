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


def test_every_dependency_has_its_line_of_reason():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    why = (ROOT / "docs" / "why.md").read_text()
    names = [re.split(r"[<>=\[ ]", line)[0] for line in project["project"]["dependencies"]]
    names += [re.split(r"[<>=\[ ]", line)[0] for line in project["dependency-groups"]["dev"]]
    assert not [name for name in names if name not in why]
