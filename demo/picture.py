"""A picture of the demo: what its terminal showed, as an SVG that loads nothing from elsewhere."""

import io
import re
from pathlib import Path

from rich.console import Console, RenderableType

WIDTH = 72
"""Columns of the picture."""

_FONT_FROM_THE_WEB = re.compile(r"\s*@font-face {.*?}", re.DOTALL)


class Picture:
    """Collects on `console` what is to be seen."""

    def __init__(self) -> None:
        self.console = Console(record=True, file=io.StringIO(), width=WIDTH, force_terminal=True)
        self._shown = 0

    def add(self, what: RenderableType) -> None:
        """Show one thing more, after an empty line."""
        if self._shown:
            self.console.print()
        self.console.print(what)
        self._shown += 1

    def add_once(self, what: RenderableType) -> None:
        """Show it if it would be the first."""
        if not self._shown:
            self.add(what)

    def save(self, path: Path, *, title: str) -> None:
        """Write the SVG."""
        svg = self.console.export_svg(title=title, unique_id="demo")
        path.write_text(_FONT_FROM_THE_WEB.sub("", svg), encoding="utf-8")
