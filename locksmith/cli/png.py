"""A drawing as a PNG, by Pillow (the extra `plot`), which is loaded only here."""

import io

from locksmith.errors import UsageError
from locksmith.fleet.forecast.drawing import Area, Drawing, Line

try:
    from PIL import Image, ImageDraw, ImageFont
except ImportError:
    raise UsageError("--plot draws .png with Pillow: pip install 'locksmith[plot]', or name an .svg") from None

SHARP = 2
"""Pixels for each of the drawing's: for screens that have them, and for print."""
SMOOTH = 2
"""Pixels for each of those while edges are drawn, which Pillow does not smooth."""
DASH, BREAK = 4, 3


def png(drawing: Drawing) -> bytes:
    """Draw it. The texts come last, on all shapes, since they are smooth by themselves."""
    scale = SHARP * SMOOTH
    large = Image.new("RGB", (drawing.width * scale, drawing.height * scale), "white")
    pen = ImageDraw.Draw(large)
    for shape in drawing.shapes:
        if isinstance(shape, Area):
            pen.polygon([(x * scale, y * scale) for x, y in shape.points], fill=shape.colour)
        elif isinstance(shape, Line):
            for begin, end in _dashes(shape):
                pen.line([(x * scale, y * scale) for x, y in (begin, end)], shape.colour, scale)
    image = large.reduce(SMOOTH)
    pen = ImageDraw.Draw(image)
    for shape in drawing.shapes:
        if not isinstance(shape, Area | Line):
            x, y = shape.at
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            font = ImageFont.load_default(shape.size * SHARP)
            pen.text((x * SHARP, y * SHARP), shape.text, shape.colour, font, anchor)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _dashes(line: Line) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Give the parts of a line; what is dashed here is upright."""
    (x, top), (_, bottom) = line.begin, line.end
    if not line.dashed:
        return [(line.begin, line.end)]
    starts = range(round(top), round(bottom), DASH + BREAK)
    return [((x, start), (x, min(start + DASH, bottom))) for start in starts]
