"""Charts: colours of the page, ids of their own, the same bytes, no label over another."""

import itertools
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from alignx.pages.figures import (
    Band,
    Bar,
    HeatRow,
    Interval,
    Line,
    Panel,
    Reference,
    bands,
    bars,
    curves,
    heat,
    intervals,
)
from alignx.pages.figures.lines import written
from alignx.pages.figures.paper import WIDTH, measure, wrap
from alignx.pages.figures.svg import ROLES, SMALL
from tests.pages.test_html import schemes

ROWS = [
    Interval("own", "ICA", 89.7, 87.4, 92.0),
    Interval("another user's persona, which is a long label to fit", "ICA", 52.1, 48.2, 56.0),
    Interval("own", "PBA", 91.2, 89.0, 93.4),
]
REFERENCES = [Reference(50, "chance 50 %"), Reference(52, "majority 52 %"), Reference(99, "the ceiling, 99 %")]


def a_forest(name: str = "forest") -> str:
    return intervals(ROWS, name=name, xlabel="accuracy, %", reference_lines=REFERENCES)


def some_curves(name: str = "curves") -> str:
    lines = [Line("training", range(1, 126), [math.exp(-x / 40) for x in range(125)]), Line("held out", [125], [0.4])]
    return curves([Panel("Loss", "nats", "step", lines), Panel("Margin", "", "step", lines[:1])], name=name)


def some_bands(name: str = "bands") -> str:
    xs = [250, 500, 1000]
    return bands([Band("ICA", xs, [1, 2, 3], [0, 1, 2], [2, 3, 4])], name=name, xlabel="pairs", ylabel="y", log2=True)


def some_bars(name: str = "bars") -> str:
    return bars([Bar("train", 118.64), Bar("report", 0.0), Bar("score", 64, "1 min 4 s")], name=name, xlabel="seconds")


def a_heat(name: str = "heat") -> str:
    rows = [HeatRow("science", "interest"), HeatRow("music", "interest"), HeatRow("concise", "style")]
    return heat(rows, [[], [0.5], [None, -0.2]], name=name, scale="correlation", missing="too few records")


def a_forest_beside(name: str = "beside") -> str:
    rows = [Interval("ICA", "P-Soups", 70, 65, 75, beside=76.5), Interval("PBA", "P-Soups", 60, 50, 70)]
    return intervals(rows, name=name, xlabel="accuracy, %", reference_lines=REFERENCES, beside="published")


CHARTS: list[Callable[[str], str]] = [a_forest, a_forest_beside, some_curves, some_bands, some_bars, a_heat]


def texts(svg: str) -> dict[str, tuple[float, float, str]]:
    """x, y and anchor of each text."""
    found = {}
    for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        anchor = re.search(r"text-anchor: (\w+)", element.get("style", ""))
        assert element.text is not None
        found[element.text] = (
            float(element.get("x", "")),
            float(element.get("y", "")),
            anchor[1] if anchor else "start",
        )
    return found


@pytest.mark.parametrize("draw", CHARTS)
def test_colours_are_the_pages_with_the_light_scheme_as_fallback(draw: Callable[[str], str]) -> None:
    svg = draw("a")
    light = schemes()[0]
    assert not [colour for colour in ROLES if colour in svg]
    for name, fallback in re.findall(r"var\(--([\w-]+), (#\w+)\)", svg):
        assert light[name] == fallback
    assert not re.findall("#[0-9a-f]{6}", re.sub(r"var\([^)]*\)", "", svg)), "a colour that no scheme knows"


@pytest.mark.parametrize("draw", CHARTS)
def test_bytes_are_the_same_each_time_and_whatever_matplotlib_is_set_to(draw: Callable[[str], str]) -> None:
    import matplotlib

    first = draw("a")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert draw("a") == first


def test_figures_share_no_id_and_refer_to_their_own() -> None:
    for draw in CHARTS:
        one, other = draw("a"), draw("b")
        mine = set(re.findall(r' id="([^"]+)"', one))
        assert not mine & set(re.findall(r' id="([^"]+)"', other))
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', one)) == mine


@pytest.mark.parametrize("draw", CHARTS)
def test_a_figure_is_small_styles_nothing_else_and_has_no_size(draw: Callable[[str], str]) -> None:
    svg = draw("a")
    root = ET.fromstring(svg)
    assert len(svg) < 40_000
    assert not {"width", "height"} & root.attrib.keys()
    assert root.attrib["viewBox"].startswith(f"0 0 {WIDTH:g} ")
    assert "<style" not in svg
    assert "font-family" not in svg.split(">", 1)[1]


def test_labels_of_rows_and_references_never_overlap() -> None:
    boxes = []
    for reference in REFERENCES:
        x, y, anchor = texts(a_forest())[reference.label]
        assert anchor == "middle"
        half = measure(reference.label, SMALL) / 2
        assert half <= x <= WIDTH - half + 0.01
        boxes.append((x - half, x + half, y))
    for (left, right, y), (other_left, other_right, other_y) in itertools.combinations(boxes, 2):
        assert right < other_left or other_right < left or abs(y - other_y) >= SMALL


def test_long_labels_are_wrapped_left_of_the_scale() -> None:
    found = texts(a_forest())
    scale = found["0"][0]
    lines = [text for text in found if text in "another user's persona, which is a long label to fit" and text != "0"]
    assert len(lines) >= 3
    assert all(measure(line) <= scale - 10 for line in lines)


def test_rows_stand_in_the_order_given_under_their_heading() -> None:
    mixed = [Interval("b", "two", 50, 40, 60), Interval("c", "one", 50, 40, 60), Interval("a", "two", 50, 40, 60)]
    found = texts(intervals(mixed, name="a", xlabel="%"))
    order = ["two", "b", "a", "one", "c"]
    assert sorted(order, key=lambda text: found[text][1]) == order


def test_an_interval_beyond_the_scale_ends_at_its_edge() -> None:
    svg = intervals([Interval("a", "", 50, -40, 250)], name="a", xlabel="%")
    found = texts(svg)
    lowest, highest = found["0"][0], found["100"][0]
    line = re.search(r'd="M ([\d.]+) [\d.]+\s+L ([\d.]+) [\d.]+\s*" style="fill: none; stroke: var\(--series-1', svg)
    assert line is not None
    assert (float(line[1]), float(line[2])) == pytest.approx((lowest, highest), abs=0.02)


@pytest.mark.parametrize(
    ("low", "estimate", "high"), [(60, 50, 70), (40, 50, 45), (math.nan, 50, 60), (40, math.nan, 60)]
)
def test_an_estimate_outside_its_interval_is_refused(low: float, estimate: float, high: float) -> None:
    with pytest.raises(ValueError, match="expected an estimate within its interval"):
        Interval("own", "ICA", estimate, low, high)


def test_series_have_a_legend_only_where_a_group_has_more_than_one() -> None:
    apart = [Interval("a", "g", 5, 4, 6, "ICA"), Interval("b", "h", 5, 4, 6, "PBA")]
    together = [Interval("a", "g", 5, 4, 6, "ICA"), Interval("b", "g", 5, 4, 6, "PBA")]
    assert "PBA" not in texts(intervals(apart, name="a", xlabel="%"))
    assert {"ICA", "PBA"} <= texts(intervals(together, name="a", xlabel="%")).keys()


def hollow(svg: str) -> list[str]:
    """x of the marks that are filled as the page is."""
    return re.findall(r'<use x="([\d.]+)" y="[\d.]+" style="fill: var\(--background', svg)


def test_a_value_beside_is_a_hollow_mark_at_its_place_explained_once() -> None:
    svg = a_forest_beside()
    found = texts(svg)
    lowest, highest = found["0"][0], found["100"][0]
    legend, mark = sorted(map(float, hollow(svg)))
    assert legend < found["published"][0] < lowest
    assert mark == pytest.approx(lowest + 0.765 * (highest - lowest), abs=0.02)
    assert svg.count(">published<") == 1
    assert found["published"][1] < min(found[each.label][1] for each in REFERENCES)


def test_without_a_value_beside_there_is_no_legend_of_it() -> None:
    svg = intervals(ROWS, name="a", xlabel="%", beside="published")
    assert "published" not in texts(svg)
    assert svg == intervals(ROWS, name="a", xlabel="%")


def test_a_value_beside_that_is_not_explained_is_refused() -> None:
    with pytest.raises(ValueError, match=r"figure 'a': got rows with a value beside, expected to be told what it is"):
        intervals([Interval("ICA", "", 50, 40, 60, beside=55)], name="a", xlabel="%")


def test_ticks_of_x_are_the_few_values_given_where_their_labels_have_room() -> None:
    def ticks(xs: list[float]) -> list[str]:
        band = Band("ICA", xs, [50] * len(xs), [40] * len(xs), [60] * len(xs))
        found = texts(bands([band], name="a", xlabel="items", ylabel="y"))
        bottom = max(y for text, (_, y, _) in found.items() if text != "items")  # the line below is the axis's name
        return [text for text, (_, y, _) in found.items() if y == bottom]

    assert ticks([0, 1, 2, 4, 8, 16]) == ["0", "1", "2", "4", "8", "16"]
    assert "1" not in ticks([0, 1, 2, 4, 8, 64])
    assert "1700" not in ticks([1000, 1700, 5000]), "four digits need more room"


def test_a_legend_stands_once_above_all_panels() -> None:
    svg = some_curves()
    assert svg.count(">held out<") == svg.count(">training<") == 1
    found = texts(svg)
    assert found["training"][1] < found["Loss"][1] < found["Margin"][1]


def test_bars_say_their_values() -> None:
    found = texts(some_bars())
    assert {"118.6", "0.0", "1 min 4 s", "train", "seconds"} <= found.keys()
    assert found["118.6"][0] + measure("118.6") <= WIDTH
    with pytest.raises(ValueError, match=r"bar 'x': got -1, expected a number that is at least 0"):
        Bar("x", -1)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: intervals([], name="a", xlabel=""),
        lambda: bars([], name="a", xlabel=""),
        lambda: curves([], name="a"),
        lambda: curves([Panel("t", "", "", [])], name="a"),
        lambda: bands([], name="a", xlabel="", ylabel=""),
    ],
)
def test_a_figure_of_nothing_is_refused(draw: Callable[[], str]) -> None:
    with pytest.raises(ValueError, match=r"figure 'a': got .*expected at least one"):
        draw()


def test_unlike_lengths_too_many_series_and_a_size_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="'x' has 2 and 1 values, expected as many of each"):
        curves([Panel("t", "", "", [Line("x", [1, 2], [1])])], name="a")
    with pytest.raises(ValueError, match="got 6 series, expected at most 5"):
        curves([Panel("t", "", "", [Line(str(n), [1], [1]) for n in range(6)])], name="a")
    with pytest.raises(ValueError, match="x = 0, expected above 0 for log2"):
        bands([Band("b", [0], [1], [0], [2])], name="a", xlabel="", ylabel="", log2=True)


def test_values_that_are_not_finite_leave_a_gap() -> None:
    svg = curves([Panel("t", "", "", [Line("x", [1, 2, 3], [1.0, math.nan, math.inf])])], name="a")
    assert "nan" not in svg
    assert "inf" not in svg


@pytest.mark.parametrize(
    "label", ["</text><script>", "$x^2$ & 5 $", 'id="a" style="fill: #a1f001"', "世界 🙂", "a\x00\x1b\ud800b"]
)
def test_a_label_is_text_whatever_it_contains(label: str) -> None:
    svg = bars([Bar(label, 1)], name="a", xlabel="")
    whole = "".join(texts(svg))
    for part in re.sub("[\x00\x1b\ud800]", "\ufffd", label).split():
        assert part in whole


def test_text_is_wrapped_at_words_and_within_them_only_where_it_must() -> None:
    assert wrap("one two three", measure("one two")) == ["one two", "three"]
    assert all(measure(line) <= 40 for line in wrap("x" * 50, 40))
    assert "".join(wrap("x" * 50, 40)) == "x" * 50
    assert wrap("", 40) == [""]


def test_labels_of_ticks_have_as_many_decimals_as_they_need() -> None:
    assert written([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert written([-1.0, 0.0, 1.0]) == ["−1", "0", "1"]
    assert written([0.0, 5e5, 1e6]) == ["0.0", "0.5M", "1.0M"]
    assert written([8000.0, 16000.0]) == ["8k", "16k"]
    assert written([0.0, 2e-5, 4e-5]) == ["0", "2e−05", "4e−05"]
