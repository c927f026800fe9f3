"""Tables in HTML."""

import html
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, verdict: int | None = None) -> str:
    """A table of plain text; cells of the column `verdict` carry their first word as a class."""
    head = "".join(f"<th>{html.escape(word)}</th>" for word in header)
    lines = []
    for row in rows:
        columns = []
        for place, cell in enumerate(row):
            kind = f' class="verdict {html.escape(cell.split(" ")[0].strip(","))}"' if place == verdict else ""
            columns.append(f"<td{kind}>{html.escape(cell)}</td>")
        lines.append(f"<tr>{''.join(columns)}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
