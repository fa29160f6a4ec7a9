"""From matplotlib's SVG to one that can stand in a page: its colours, its font, no size, ids of its own.

A chart is drawn in colours that nobody would choose. Here each becomes the page's colour of that role, or the light
scheme's where the SVG stands alone.
"""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from alignx.pages.document import refuse_unsuitable_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK: Final = "#a1f001"
MUTED: Final = "#a1f002"
GRID: Final = "#a1f003"
BACKGROUND: Final = "#a1f004"
SERIES: Final = ("#a1f011", "#a1f012", "#a1f013", "#a1f014", "#a1f015")

ROLES: Final = {
    INK: ("ink", "#1c1e21"),
    MUTED: ("muted", "#5a5f66"),
    GRID: ("grid", "#dcdcd7"),
    BACKGROUND: ("background", "#fcfcfb"),
    SERIES[0]: ("series-1", "#1f62a8"),
    SERIES[1]: ("series-2", "#c04a0a"),
    SERIES[2]: ("series-3", "#12795c"),
    SERIES[3]: ("series-4", "#97358a"),
    SERIES[4]: ("series-5", "#806200"),
}
"""Colour to draw in → the page's name for it, and its value in the light scheme of ``page.css``."""

SIZE: Final = 11.5
"""Points of all text but the small one."""
SMALL: Final = 10.5

_STYLE: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,
    "figure.facecolor": BACKGROUND,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same widths, so the same bytes, everywhere
    "font.size": SMALL,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "path.simplify_threshold": 0.2,
    "savefig.facecolor": "auto",
    "svg.fonttype": "none",
    "svg.hashsalt": "alignx",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
}
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of the pages, whatever the user's matplotlib is set to."""
    import warnings

    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        # The reader's fonts draw the text, not matplotlib's.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        yield


def to_svg(figure: "Figure", name: str) -> str:
    """The SVG element of a chart, the same bytes each time; as wide as where it stands.

    Args:
        figure: Drawn in the colours above.
        name: Begins every id, so that charts can share a page.

    Raises:
        ValueError: The name is not lower-case words joined by hyphens.
    """
    refuse_unsuitable_name(name)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ET.fromstring(stream.getvalue())
    _drop_what_would_style_the_page(root)
    _rename(root, name)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        _tidy(element)
    view = root.attrib["viewBox"]
    root.attrib.clear()
    look = "font-family: var(--sans, system-ui, sans-serif); stroke-linejoin: round"
    root.attrib |= {"xmlns": "http://www.w3.org/2000/svg", "viewBox": view, "style": look}
    return ET.tostring(root, encoding="unicode").rstrip()


def _drop_what_would_style_the_page(root: ET.Element) -> None:
    for defs in root.findall(f"{_SVG}defs"):
        for style in defs.findall(f"{_SVG}style"):
            defs.remove(style)
        if len(defs) == 0:
            root.remove(defs)


def _rename(root: ET.Element, name: str) -> None:
    """Prefix the ids that something refers to, and drop the others."""
    used: set[str] = set()
    for element in root.iter():
        target = element.attrib.pop(_LINK, "")
        if target:
            element.set("href", f"#{name}--{target[1:]}")
            used.add(target[1:])
        for key, value in element.items():
            inner = re.fullmatch(r"url\(#(.+)\)", value)
            if inner:
                element.set(key, f"url(#{name}--{inner[1]})")
                used.add(inner[1])
    for element in root.iter():
        old = element.attrib.pop("id", "")
        if old in used:
            element.set("id", f"{name}--{old}")


def _tidy(element: ET.Element) -> None:
    """Two decimals, colours by role, no font of its own, no rotation by nothing, no indentation."""
    for key in ("d", "x", "y", "transform", "points"):
        if key in element.attrib:
            element.set(key, re.sub(r"-?\d+\.\d{3,}", _rounded, element.attrib[key]).replace(" \n", " "))
    if re.match(r"rotate\(-?0 ", element.get("transform", "")):
        del element.attrib["transform"]
    style = element.get("style", "")
    for colour, (role, light) in ROLES.items():
        style = style.replace(colour, f"var(--{role}, {light})")
    style = re.sub(r"font-family:[^;]*;?\s*", "", style)
    if style:
        element.set("style", style)
    if element.tag != "text":
        element.text = None
    element.tail = "\n"


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")
