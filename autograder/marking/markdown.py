"""Shows Markdown of a course or of a student as HTML."""

import mistune
from markupsafe import Markup

from autograder.records.text import printable

MOST_SHOWN = 20_000  # characters of an answer; longer Markdown could take long
# HTML in an answer is shown as text; links of other kinds than http are dropped by mistune.
_markdown = mistune.create_markdown(escape=True, plugins=["table", "strikethrough"])


def as_html(text: str) -> Markup:
    """Return Markdown as HTML; HTML in the text is escaped, and a very long text is cut."""
    cut = text[:MOST_SHOWN]
    more = len(text) - len(cut)
    if more:
        cut += f"\n\n… ({more:,} more characters are not shown)"
    shown = printable(cut, keep="\n\t")
    try:
        return Markup(_markdown(shown))
    except RecursionError:
        return Markup("<pre>{}</pre>").format(shown)
