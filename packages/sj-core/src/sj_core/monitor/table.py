"""Tables of numbers, by layer and column."""

from __future__ import annotations

from typing import Any


class Table(dict[str, dict[str, Any]]):
    """Rows by name, columns by name: `table["layer"]["column"]`; printing aligns them.

    Example:
        >>> from sj_core.monitor import Table
        >>> print(Table({"0": {"rate": 0.25}, "fc": {"rate": 1.0}}))
        layer  rate
        0      0.25
        fc        1
    """

    def __str__(self) -> str:
        columns = list(dict.fromkeys(column for row in self.values() for column in row))
        lines = [["layer", *columns]]
        for name, row in self.items():
            lines.append([name or "(net)", *(_text(row.get(column, "")) for column in columns)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
