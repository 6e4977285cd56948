"""The page of the gallery: one HTML file that contains all images and needs no network."""

import ast
import base64
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from tools.gallery.figures import Entry
from vae_utils import plots

KINDS = sum(name.startswith("plot_") for name in plots.__all__)

STYLE = """
body { font: 17px/1.55 system-ui, sans-serif; color: #222; background: #f4f5f7;
       max-width: 52rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; margin: 2.8rem 0 1rem; border-bottom: 2px solid #3f90da; }
nav ul { columns: 13rem; padding: 0; list-style: none; }
a { color: #175a94; }
figure { background: #fff; margin: 0 0 1.6rem; padding: 1.1rem; border: 1px solid #d8dbe0;
         border-radius: 6px; }
img { max-width: 100%; height: auto; display: block; }
figcaption { margin-bottom: .8rem; }
h3 { font-size: 1.05rem; margin: 0; }
pre { background: #f4f5f7; padding: .7rem .9rem; margin: .9rem 0 0; overflow-x: auto;
      font-size: .85rem; line-height: 1.45; border-radius: 4px; }
@media print { body { background: #fff; } figure { break-inside: avoid; } nav { display: none; } }
"""


def write_page(entries: Sequence[Entry], results: Mapping[str, str], folder: Path) -> Path:
    """Write `index.html` into the folder of the PNGs. The page contains their data.

    Args:
        entries: The entries in their order, grouped by section.
        results: Name of each entry to its text. For a figure, this is the figure's title, which
            screen readers read.
        folder: Folder that contains `NAME.png` of each figure.

    Returns:
        The path of the page.
    """
    groups = [(name, list(group)) for name, group in groupby(entries, lambda e: e.section)]
    contents = "".join(
        f'<li><a href="#{_anchor(name)}">{escape(name)}</a></li>' for name, _ in groups
    )
    sections = "".join(
        f'<section id="{_anchor(name)}"><h2>{escape(name)}</h2>'
        + "".join(_figure(entry, results[entry.name], folder) for entry in group)
        + "</section>"
        for name, group in groups
    )
    page = folder / "index.html"
    page.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Figures of vae_utils</title><style>{STYLE}</style></head><body>"
        "<header><h1>Figures of vae_utils</h1>"
        f"<p>{len(entries)} figures and numbers of small models that were trained on the embedded "
        f"digits. They show the {KINDS} kinds of figures of vae_utils. The code of each one is "
        "below it. In the code, <code>t</code> contains the digits and the trained models."
        "</p></header>"
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav><main>{sections}</main>'
        "</body></html>\n",
        encoding="utf-8",
    )
    return page


def shown_code(entry: Entry) -> str:
    """Return the statements of an entry's function as they would be in a notebook's cell.

    Example:
        >>> from tools.gallery.figures import ENTRIES
        >>> print(shown_code(ENTRIES[0]))
        plot_samples(t.images, t.labels, title="MNIST, test digits")
    """
    source = inspect.getsource(entry.compute)
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    first = function.body[1]  # body[0] is the docstring
    statements = textwrap.dedent("\n".join(source.splitlines()[first.lineno - 1 :]))
    return statements.replace("plots.", "").replace("return ", "")


def _figure(entry: Entry, result: str, folder: Path) -> str:
    caption = inspect.getdoc(entry.compute) or ""
    image = folder / f"{entry.name}.png"
    if image.is_file():
        data = base64.b64encode(image.read_bytes()).decode("ascii")
        shown = f'<img src="data:image/png;base64,{data}" alt="{escape(result)}" loading="lazy">'
    else:
        shown = f"<pre><samp>{escape(result)}</samp></pre>"
    heading = escape(entry.name.replace("_", " "))
    return (
        f'<figure id="{entry.name}"><figcaption><h3>{heading}</h3>{escape(caption)}</figcaption>'
        f'{shown}<pre tabindex="0"><code>{escape(shown_code(entry))}</code></pre></figure>'
    )


def _anchor(section: str) -> str:
    return "section-" + section.lower().replace(" ", "-")
