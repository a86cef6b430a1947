"""The Python blocks of the README files and of the guide run as printed.

The blocks of a page run one after the other in one namespace. A block of `text` directly below one
is what it prints. A block whose first line says `python notest` is shown only.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"^```python[ ]*\n(?P<code>.*?)^```[ ]*\n(?:\n?```text\n(?P<text>.*?)^```)?", re.M | re.S
)
PAGES = [
    page
    for page in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted(ROOT.glob("packages/*/README.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    )
    if page.is_file() and not {"_build", "api"} & set(page.parts)
]
CHECKER = doctest.OutputChecker()
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def names(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=names)
def test_blocks_of(page: Path, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    source = page.read_text()
    namespace: dict[str, object] = {"__name__": "page"}
    for block in BLOCK.finditer(source):
        line = source.count("\n", 0, block.start("code"))
        code = compile("\n" * line + block["code"], str(page), "exec")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, namespace)
        if block["text"] is not None:
            agrees = CHECKER.check_output(block["text"], out.getvalue(), OPTIONS)
            assert agrees, f"{names(page)}:{line}: printed\n{out.getvalue()}"


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_of(page: Path):
    """Every relative link leads to a file of the repository."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{names(page)} links to {target}"
