"""The documentation and the code say the same thing, and every link leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry.settings import TABLE
from tests.repository import tree

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead nowhere."""
    found = []
    for match in LINK.finditer(FENCE.sub("", text)):
        target = match.group(1) or match.group(2)
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            found.append(target)
    return found


@pytest.mark.parametrize("page", tree.markdown(), ids=tree.name_of)
def test_links_lead_somewhere(page):
    assert broken(page, page.read_text()) == []


def test_a_dead_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading, *here*\n[a](page.md#a-heading-here) [b](#gone) ![c](gone.svg)\n")
    assert broken(page, page.read_text()) == ["#gone", "gone.svg"]


def test_pages_named_in_the_code_exist():
    gone = {
        f"{tree.name_of(path)}: {name}"
        for path, text in tree.texts().items()
        if path.suffix != ".md"
        for name in re.findall(r"\bdocs/[\w./-]+\.(?:md|svg)\b", text)
        if not (tree.ROOT / name).is_file()
        and tree.name_of(path) != "tests/repository/test_docs.py"
    }
    assert not gone


def test_every_page_can_be_reached():
    linked = {
        (page.parent / (match.group(1) or match.group(2)).partition("#")[0]).resolve()
        for page, text in tree.markdown().items()
        for match in LINK.finditer(text)
    }
    docs = {page for page in tree.markdown() if page.is_relative_to(tree.ROOT / "docs")}
    assert not {tree.name_of(page) for page in docs - linked}


def test_generated_pages_are_in_step():
    done = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"],
        cwd=tree.ROOT,
        # Another name and another width must not change the pages.
        env=os.environ | {"LOGNAME": "somebody", "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_is_documented():
    page = (tree.ROOT / "docs/settings.md").read_text()
    assert not [row.name for row in TABLE if f"`{row.variable}`" not in page or not row.doc]


def test_every_command_is_documented():
    page = (tree.ROOT / "docs/cli.md").read_text()
    rows = tree.pyproject()["project"]["entry-points"]["penstock.commands"]
    assert not [name for name in rows if f"\n## penstock {name}\n" not in page]


def test_every_make_target_is_documented():
    page = (tree.ROOT / "docs/development.md").read_text()
    assert not [target for target in tree.make_targets() if f"`make {target}" not in page]


def test_make_targets_that_are_named_exist():
    gone = {
        f"{tree.name_of(path)}: make {target}"
        for path, text in tree.texts().items()
        for target in re.findall(r"`make ([a-z][a-z-]*)", text)
        if target not in tree.make_targets() and path != Path(__file__)
    }
    assert not gone


def test_every_dependency_is_argued_for():
    page = (tree.ROOT / "docs/decisions/0002-dependencies.md").read_text()
    project = tree.pyproject()
    wanted = (*project["project"]["dependencies"], *project["dependency-groups"]["dev"])
    names = {re.split(r"[^\w.-]", text)[0] for text in wanted}
    argued = set(re.findall(r"^\| ([\w., -]+) \|", page, re.MULTILINE))
    assert not names - {name.strip() for row in argued for name in row.split(",")}


def test_decisions_are_numbered_and_have_a_form():
    pages = sorted((tree.ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert re.match(rf"# {int(page.name[:4])}\. \S", text), page.name
        for heading in ("Context", "Decision", "Consequences"):
            assert f"\n## {heading}\n" in text, f"{page.name} has no {heading}"


def test_the_change_log_has_room_for_what_comes():
    text = (tree.ROOT / "CHANGELOG.md").read_text()
    assert "\n## [Unreleased]\n" in text
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_first_page_starts_with_two_commands():
    text = (tree.ROOT / "README.md").read_text()
    assert text.index("$ make demo") < text.index("$ make test") < text.index("## Then")
