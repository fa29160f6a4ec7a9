"""Charts for pages, as SVG texts that take their colours and font from the page around them.

All are drawn 340 points wide, about the width of a phone: there their text has nearly the size it is drawn in, and on a
large screen that of the page's text.
"""

from alignx.pages.figures.forest import Interval, Reference, intervals
from alignx.pages.figures.heat import HeatRow, heat
from alignx.pages.figures.lengths import Bar, bars
from alignx.pages.figures.lines import Band, Line, Panel, bands, curves

__all__ = [
    "Band",
    "Bar",
    "HeatRow",
    "Interval",
    "Line",
    "Panel",
    "Reference",
    "bands",
    "bars",
    "curves",
    "heat",
    "intervals",
]
