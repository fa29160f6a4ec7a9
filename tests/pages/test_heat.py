"""The triangle of cells: where each cell stands, what colour it has, and what is said around it."""

import itertools
import math
import random
import re
from collections.abc import Sequence

import pytest

from alignx.pages.figures import HeatRow, heat
from alignx.pages.figures.heat import _GAP
from alignx.pages.figures.paper import LEADING, WIDTH, measure
from alignx.pages.figures.svg import ROLES, SIZE, SMALL
from alignx.records import load_taxonomy
from tests.pages.test_figures import texts
from tests.pages.test_html import schemes

THREE = [HeatRow("science", "interest"), HeatRow("music", "interest"), HeatRow("concise", "style")]


def draw(values: Sequence[Sequence[float | None]], rows: Sequence[HeatRow] = THREE, name: str = "a") -> str:
    return heat(rows, values, name=name, scale="correlation", missing="too few records")


def many(groups: Sequence[tuple[str, int]]) -> list[HeatRow]:
    return [HeatRow(f"{group} {number}", group) for group, size in groups for number in range(size)]


def noise(size: int) -> list[list[float | None]]:
    rng = random.Random(0)
    return [[rng.uniform(-0.2, 0.2) for _ in range(row)] for row in range(size)]


def cells(svg: str) -> dict[tuple[str, float], list[tuple[float, float, float]]]:
    """(role, strength) → left end, right end and middle of each cell, the legend's swatches included."""
    found: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    for path, style in re.findall(r'<path d="([^"]+)"[^>]* style="([^"]+)"', svg):
        colour, width = re.search(r"stroke: var\(--([\w-]+)", style), re.search(r"stroke-width: ([\d.]+)", style)
        if colour is None or width is None or float(width[1]) < 2:
            continue
        strength = re.search(r"stroke-opacity: ([\d.]+)", style)
        places = found.setdefault((colour[1], float(strength[1]) if strength else 1.0), [])
        for left, top, right, bottom in re.findall(r"M ([\d.]+) ([\d.]+)\s*L ([\d.]+) ([\d.]+)", path):
            assert top == bottom
            places.append((float(left), float(right), float(top)))
    return found


def in_the_triangle(svg: str) -> dict[tuple[str, float], int]:
    """How many cells have each colour; the legend has one swatch of each."""
    return {look: len(places) - 1 for look, places in cells(svg).items() if len(places) > 1}


def test_each_cell_has_the_colour_of_its_value_and_a_missing_one_none() -> None:
    svg = draw([[], [0.5], [None, -0.2]])  # the scale ends at 0.5, so a step is 0.1 wide
    assert in_the_triangle(svg) == {("series-1", 1.0): 1, ("series-2", 0.52): 1}
    assert "blank: too few records" in texts(svg)


def test_a_cell_stands_in_its_own_row_and_in_the_column_of_the_earlier_one() -> None:
    svg = draw([[], [0.5], [None, -0.2]])
    found, cell = texts(svg), 24.0
    (left, right, middle) = cells(svg)["series-2", 0.52][0]
    column, row = found["2"], found["3 concise"]
    assert right - left == pytest.approx((1 - _GAP) * cell, abs=0.02)
    assert column[0] == pytest.approx(right - cell / 2, abs=0.02)
    assert row[1] == pytest.approx(middle + 0.36 * SMALL, abs=0.02)


@pytest.mark.parametrize(
    ("value", "look"),
    [
        (0.0, ("grid", 0.6)),
        (-0.0999, ("grid", 0.6)),
        (0.1, ("series-1", 0.28)),
        (-0.3, ("series-2", 0.76)),
        (0.3999, ("series-1", 0.76)),
        (-0.5, ("series-2", 1.0)),
    ],
)
def test_a_step_begins_at_its_lower_end(value: float, look: tuple[str, float]) -> None:
    svg = draw([[], [value], [0.45, None]])
    expected = {("series-1", 1.0): 1}
    expected[look] = expected.get(look, 0) + 1
    assert in_the_triangle(svg) == expected


@pytest.mark.parametrize(
    ("greatest", "ends"),
    [
        (0.004, ["−0.010", "−0.006", "±0.002", "0.006", "0.010"]),
        (0.05, ["−0.05", "−0.03", "±0.01", "0.03", "0.05"]),
        (0.0501, ["−0.10", "−0.06", "±0.02", "0.06", "0.10"]),
        (-1.0, ["−1.0", "−0.2", "0.2", "1.0"]),
    ],
)
def test_the_scale_ends_where_the_values_do_and_says_its_steps(greatest: float, ends: list[str]) -> None:
    assert set(ends) <= texts(draw([[], [greatest], [0.0, 0.0]])).keys()


@pytest.mark.parametrize("greatest", [0.004, 0.015, 0.05, 0.2, 0.7, 1.0])
def test_numbers_of_the_scale_stand_on_the_sheet_and_apart(greatest: float) -> None:
    found = [(x, text) for text, (x, _, anchor) in texts(draw([[], [greatest], [0, 0]])).items() if "." in text]
    assert len(found) in (5, 10)
    ends = [(x - measure(text, SMALL) / 2, x + measure(text, SMALL) / 2) for x, text in sorted(found)]
    assert ends[0][0] >= -0.02
    assert ends[-1][1] <= WIDTH + 0.02
    assert all(before[1] + 2 <= after[0] for before, after in itertools.pairwise(ends))


def test_few_rows_are_named_and_numbered_and_nothing_is_blank() -> None:
    svg = draw([[], [0.5], [0.1, -0.2]])
    assert {"1 science", "2 music", "3 concise", "1", "2", "3"} <= texts(svg).keys()
    assert "blank" not in svg


def test_long_names_are_wrapped_and_their_rows_are_as_high_as_they_need() -> None:
    rows = [HeatRow("a name that needs more than one line to be written in", "g") for _ in range(4)]
    svg = draw([[], [0.1], [0.1, 0.1], [0.1, 0.1, 0.1]], rows)
    heights = sorted({y for text, (_, y, _) in texts(svg).items() if re.match(r"[1-4] a", text)})
    assert len(heights) == 4
    assert all(below - above >= 2 * LEADING * SMALL for above, below in itertools.pairwise(heights))
    ends = [right for places in cells(svg).values() for _, right, _ in places]
    assert max(ends) <= WIDTH


@pytest.mark.parametrize(
    "groups",
    [
        [(d, 2) for d in ("demographics", "big five", "maslow", "murray", "alignment", "interest")] + [("rest", 20)],
        [("the first", 30), ("one alone", 1), ("another alone with a very long name that is wrapped", 1)],
        [("only one", 20)],
        [(f"group number {number}", 1) for number in range(60)],
        [("large", 40), *((f"small {number}", 1) for number in range(9))],
    ],
    ids=["six", "last", "one", "many", "crowd"],
)
def test_names_of_groups_stand_on_the_sheet_right_of_the_diagonal_and_apart(groups: list[tuple[str, int]]) -> None:
    rows = many(groups)
    svg = draw(noise(len(rows)), rows)
    words = " ".join(group for group, _ in groups)
    boxes = [
        (x, y - 0.36 * SIZE, x + measure(text)) for text, (x, y, _) in texts(svg).items() if text in words and y < WIDTH
    ]
    unnamed = re.search(r"for want of room: (\d+)", svg)
    assert len(boxes) >= len(groups) - int(unnamed[1] if unnamed else 0)
    for x, middle, end in boxes:
        assert middle - SIZE / 2 >= -0.1
        assert x >= middle + SIZE / 2 - 0.1  # the diagonal is as far right as it is far down
        assert end <= WIDTH + 0.1
    for (_, one, _), (_, other, _) in itertools.combinations(boxes, 2):
        assert abs(one - other) >= LEADING * SIZE - 0.1


def test_groups_without_room_for_a_name_are_counted_and_the_largest_have_one() -> None:
    rows = many([*((f"g{number}", 1) for number in range(60)), ("the large one", 5)])
    svg = draw(noise(len(rows)), rows)
    named = [text for text in texts(svg) if re.fullmatch(r"g\d+|the large one", text)]
    assert "the large one" in named
    assert f"groups without a name here, for want of room: {61 - len(named)}" in texts(svg)


def test_borders_stand_between_groups_unless_each_is_of_one_row() -> None:
    def borders(groups: list[tuple[str, int]]) -> int:
        rows = many(groups)
        corner = r'"M [\d. ]+\s*L [\d. ]+\s*L [\d. ]+" [^>]*stroke: var\(--muted'
        return len(re.findall(corner, draw(noise(len(rows)), rows)))

    assert borders([("a", 10), ("b", 9), ("c", 1)]) == 2
    assert borders([("a", 20)]) == 0
    assert borders([("a", 1), ("b", 1), ("c", 1)]) == 0


def test_ninety_dimensions_make_a_small_file_with_a_cell_for_each_two() -> None:
    rows = [HeatRow(d.positive, d.group) for d in load_taxonomy().dimensions]
    svg = draw(noise(90), rows)
    assert sum(in_the_triangle(svg).values()) == 90 * 89 / 2
    assert len(svg.encode()) < 150_000
    assert {"big_five", "interest"} <= texts(svg).keys()


def test_colours_are_the_pages_and_bytes_are_the_same_each_time() -> None:
    svg, light = draw(noise(20), many([("a", 20)])), schemes()[0]
    assert svg == draw(noise(20), many([("a", 20)]))
    assert not [colour for colour in ROLES if colour in svg]
    for name, fallback in re.findall(r"var\(--([\w-]+), (#\w+)\)", svg):
        assert light[name] == fallback
    assert svg.startswith("<svg ")
    assert re.search(rf'viewBox="0 0 {WIDTH:g} ', svg)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([[], [0.1]], r"got values \[0, 1\] long, expected one for each row before: 0 to 2"),
        ([[], [0.1], [0.1]], r"got values \[0, 1, 1\] long"),
        ([[], [1.01], [0, 0]], "row 'music' has 1.01, expected between −1 and 1 or None"),
        ([[], [0], [0, math.nan]], "row 'concise' has nan, expected between −1 and 1 or None"),
    ],
)
def test_values_that_fit_no_triangle_or_are_no_correlation_are_refused(
    values: list[list[float | None]], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        draw(values)


def test_one_row_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="figure 'a': got 1 rows, expected at least two"):
        draw([[]], THREE[:1])
