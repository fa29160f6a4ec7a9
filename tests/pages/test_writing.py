"""A page on disk, and what it costs to import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import alignx.pages
from alignx.pages import Quote, to_html, to_markdown, write
from tests.pages.sheets import page_of, page_with_everything

FOLDER = Path(alignx.pages.__file__).parent
LATE = {"matplotlib", "jinja2", "markupsafe"}


def test_a_page_is_written_with_its_figures_and_nothing_else(tmp_path: Path) -> None:
    page = page_with_everything()
    paths = write(page, tmp_path, "report")
    names = ["report.md", "report.html", "figures/first.svg", "figures/second.svg"]
    assert paths == [tmp_path / name for name in names]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths)
    assert paths[0].read_text(encoding="utf-8") == to_markdown(page)
    assert paths[1].read_text(encoding="utf-8") == to_html(page)
    svg = paths[2].read_text(encoding="utf-8")
    assert svg.startswith('<svg width="496" height="')
    assert 'aria-label="accuracy of &quot;own&quot;: 89.7 %"' in svg


def test_a_page_is_written_again_with_the_same_bytes(tmp_path: Path) -> None:
    once = [path.read_bytes() for path in write(page_with_everything(), tmp_path, "a")]
    assert [path.read_bytes() for path in write(page_with_everything(), tmp_path, "a")] == once


def test_half_a_character_from_a_json_file_stops_no_report(tmp_path: Path) -> None:
    for path in write(page_of(Quote("q", "a\ud83db")), tmp_path, "a"):
        assert "a?b" in path.read_text(encoding="utf-8")


def imported(tree: ast.AST, *, only_top: bool) -> set[str]:
    """First parts of what a module imports; of this project the whole name."""
    found = set()
    for node in tree.body if only_top and isinstance(tree, ast.Module) else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            if node.module == "alignx":
                found |= {f"alignx.{alias.name}" for alias in node.names}
            else:
                found.add(node.module if node.module.startswith("alignx.") else node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_imports_only_what_this_room_may(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours = ("alignx.pages", "alignx.errors", "alignx.manifest")
    for name in imported(tree, only_top=False):
        assert name.startswith(ours) if name.startswith("alignx") else name in sys.stdlib_module_names | LATE
    assert not imported(tree, only_top=True) & LATE


def test_importing_the_room_loads_no_library_that_draws_or_fills_in() -> None:
    code = "import sys, alignx.pages, alignx.pages.figures; print(sorted({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parents[1]
    )
    assert not LATE & set(ast.literal_eval(done.stdout))
