"""A MkDocs hook: pages from outside docs/, and formulas that are typeset without a network."""

from importlib.resources import files as files_of
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
# The parts of MathJax 2.7 that typeset TeX as HTML. The file of the configuration has the code.
MATHJAX = "jupyter_server_mathjax"
MATHJAX_PARTS = (
    "MathJax.js",
    "LICENSE",
    "config/TeX-AMS-MML_HTMLorMML-full.js",
    "extensions/AssistiveMML.js",
    "fonts/HTML-CSS/STIX-Web/woff/*.woff",
    "jax/element/mml/optable/*.js",
    "jax/output/HTML-CSS/**/*.js",
)
MATHJAX_URL = "mathjax/MathJax.js?config=TeX-AMS-MML_HTMLorMML-full"
SCRIPTS = """
<script type="text/x-mathjax-config">
MathJax.Hub.Config({
  extensions: ["AssistiveMML.js"],
  tex2jax: {ignoreClass: "md-main", processClass: "arithmatex"},
  "HTML-CSS": {availableFonts: [], webFont: "STIX-Web", imageFont: null},
  messageStyle: "none",
  showMathMenu: false
});
</script>
<script src="URL"></script>
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each page, with its links to other pages of the site rewritten, and MathJax."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for name, target in PAGES.items():
            text = text.replace(f"]({name}", f"]({target}")
        files.append(File.generated(config, page, content=text))
    static = Path(str(files_of(MATHJAX))) / "static"
    for part in MATHJAX_PARTS:
        for path in sorted(static.glob(part)):
            name = f"mathjax/{path.relative_to(static).as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Load MathJax on the pages that have formulas."""
    if 'class="arithmatex"' not in html:
        return html
    return html + SCRIPTS.replace("URL", get_relative_url(MATHJAX_URL, page.url))
