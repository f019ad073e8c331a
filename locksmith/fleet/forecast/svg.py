"""A drawing as an SVG. Pure."""

from html import escape

from locksmith.fleet.forecast.drawing import Area, Drawing, Line, Text


def svg(drawing: Drawing) -> str:
    """Write it."""
    width, height = drawing.width, drawing.height
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif">'
    )
    paper = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, paper, *map(_shape, drawing.shapes), "</svg>", ""])


def _shape(shape: Area | Line | Text) -> str:
    match shape:
        case Area(points, colour, title):
            places = " ".join(f"{_px(x)},{_px(y)}" for x, y in points)
            return f'<polygon points="{places}" fill="{colour}"><title>{escape(title)}</title></polygon>'
        case Line((x, y), (to_x, to_y), colour, dashed):
            dashes = ' stroke-dasharray="4 3"' if dashed else ""
            ends = f'x1="{_px(x)}" y1="{_px(y)}" x2="{_px(to_x)}" y2="{_px(to_y)}"'
            return f'<line {ends} stroke="{colour}"{dashes}/>'
        case Text((x, y), text, anchor, size, colour):
            place = f'x="{_px(x)}" y="{_px(y)}" text-anchor="{anchor}" font-size="{size}"'
            return f'<text {place} fill="{colour}">{escape(text)}</text>'


def _px(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")
