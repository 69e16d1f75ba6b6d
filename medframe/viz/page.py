"""One self-contained HTML page: no script, nothing fetched, everything escaped."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from medframe.base.files import write_text

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 68rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d8e0e8; }
p.lead { color: #52606d; margin-top: 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #e6ebf0; }
th { background: #f2f5f8; } td:first-child, th:first-child { text-align: left; }
figure { margin: .8rem 0; } figcaption { color: #52606d; font-size: .9rem; }
img, svg { max-width: 100%; height: auto; }
pre { background: #f6f8fa; padding: .8rem; overflow: auto; font-size: .82rem; line-height: 1.45; }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; } .row > * { flex: 1 1 20rem; }
.key span { display: inline-block; margin-right: 1rem; } .key i { display: inline-block; width: .8rem; height: .8rem;
border-radius: 2px; margin-right: .35rem; vertical-align: -1px; }
details summary { cursor: pointer; color: #33567a; }
"""


@dataclass
class Page:
    """An HTML page in the making.

    Args:
        title: of the page.
        lead: one sentence below it.
    """

    title: str
    lead: str = ""
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """A section begins."""
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        """A paragraph."""
        self.parts.append(f"<p>{html.escape(text)}</p>")

    def code(self, text: str, summary: str | None = None) -> None:
        """Text as it is; folded away behind `summary` where one is given."""
        block = f"<pre>{html.escape(text)}</pre>"
        self.parts.append(f"<details><summary>{html.escape(summary)}</summary>{block}</details>" if summary else block)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], summary: str | None = None) -> None:
        """A table; numbers are shown to four digits, what is undefined as a dash."""
        head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(shown(v))}</td>" for v in row) + "</tr>" for row in rows)
        block = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        self.parts.append(f"<details><summary>{html.escape(summary)}</summary>{block}</details>" if summary else block)

    def images(self, *pictures: tuple[str, str]) -> None:
        """Pictures side by side: (SVG text or data address, caption)."""
        blocks = []
        for picture, caption in pictures:
            shown_ = picture if picture.startswith("<svg") else f'<img src="{picture}" alt="{html.escape(caption)}">'
            blocks.append(f"<figure>{shown_}<figcaption>{html.escape(caption)}</figcaption></figure>")
        self.parts.append(f'<div class="row">{"".join(blocks)}</div>')

    def key(self, colours: Sequence[tuple[str, str]], note: str = "") -> None:
        """What the colours mean: (name, colour)."""
        spans = "".join(f'<span><i style="background:{c}"></i>{html.escape(n)}</span>' for n, c in colours)
        self.parts.append(f'<p class="key">{spans}{html.escape(note)}</p>')

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page, atomically."""
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        write_text(
            path,
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            "<meta name='viewport' content='width=device-width'>"
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head><body>"
            f"<h1>{html.escape(self.title)}</h1><p class='lead'>{html.escape(self.lead)}</p>"
            + "\n".join(self.parts)
            + "</body></html>\n",
        )


def shown(value: object) -> str:
    """A value as a cell shows it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value)
