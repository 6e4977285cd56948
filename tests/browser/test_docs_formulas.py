"""Formulas of the documentation: typeset from disk, without a request to another server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="requirements.txt has mkdocs: run `make setup`")

ROOT = Path(__file__).resolve().parents[2]
TEXT = r"""# Formulas

A formula $\frac{a}{b} \sim \mathcal{N}(0, 1)$, and one with several lines:

$$
\begin{aligned}
\mathcal{L} &= \mathbb{E}_q[\log p] \\
&- D_{KL}(q \,\Vert\, p)
\end{aligned}
$$

It costs $5 or $7.
"""


def built(folder: Path) -> Path:
    """Build a site of two pages, one with formulas, with the project's settings."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text("# Start\n\nNo formula.\n")
    (folder / "docs" / "formulas.md").write_text(TEXT)
    settings = folder / "mkdocs.yml"
    hook = ROOT / "tools" / "docs_pages.py"
    own = f"nav: [index.md, formulas.md]\nhooks: [{hook}]\nplugins: [search]\nextra_css: []\n"
    settings.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\n{own}")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "-f", settings, "-d", folder / "site"],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder / "site"


def test_formulas_are_typeset_from_disk_without_a_network(page, tmp_path):
    site = built(tmp_path)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"file://{site}/formulas.html")
    page.wait_for_selector(".arithmatex .MathJax_Display")
    page.wait_for_function("MathJax.Hub.queue.pending === 0 && !MathJax.Hub.queue.running")
    assert page.locator(".arithmatex").count() == 2
    assert page.locator(".MathJax").count() == 2
    assert page.locator("text=Math Processing Error").count() == 0
    assert page.locator(".MathJax mfrac, .MJX_Assistive_MathML mfrac").count() >= 1
    assert "It costs $5 or $7." in page.inner_text("article")
    assert not [url for url in requests if url.startswith("http")]
    assert any("/mathjax/fonts/" in url for url in requests)


def test_a_page_without_formulas_does_not_load_mathjax(tmp_path):
    site = built(tmp_path)
    assert "mathjax" in (site / "formulas.html").read_text(encoding="utf-8").lower()
    assert "mathjax" not in (site / "index.html").read_text(encoding="utf-8").lower()
