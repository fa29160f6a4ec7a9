"""The paper's own numbers: they are found, and its arithmetic comes out of them."""

import statistics
from collections.abc import Callable

import pytest

from alignx.errors import DataError, SettingsError
from alignx.evaluation.published import BASELINES, Published, _parse, expected_items, published, published_rows

COLUMNS = [
    ("UF-P-4", "PAIR"),
    ("PRISM", "PAIR"),
    ("P-Soups", "PAIR"),
    ("AlignX_test", "UGC"),
    ("AlignX_test", "PAIR"),
    ("AlignX_test", "DEMO"),
    ("AlignX_test", "all"),
]
"""Of Table 3."""
HEADER = "table,model,training,benchmark,condition,metric,value,note\n"


def best(rows: list[Published], of: Callable[[Published], bool]) -> float:
    return max(row.value for row in rows if of(row))


def macro(counts: dict[str, tuple[int, int]]) -> float:
    return statistics.fmean(100 * right / items for right, items in counts.values())


def micro(counts: dict[str, tuple[int, int]]) -> float:
    return 100 * sum(right for right, _ in counts.values()) / sum(items for _, items in counts.values())


def psoups_counts(model: str) -> dict[str, tuple[int, int]]:
    """Right items and all items of each dimension: the whole numbers behind Table 8's percentages."""
    counts = {}
    for row in published_rows(table=8, model=model):
        [file] = expected_items(f"P-Soups {row.condition}")
        right = round(row.value * file.value / 100)
        assert 100 * right / file.value == pytest.approx(row.value, abs=0.00501)
        counts[row.condition] = right, round(file.value)
    assert list(counts) == ["Expertise", "Informativeness", "Style"]
    return counts


# The paper's arithmetic


def test_17_06_is_the_mean_gain_over_the_best_baseline_of_the_seven_columns() -> None:
    # At 100 %: 63.01 − 59.38, 68.17 − 66.86, 81.69 − 49.44, 59.63 − 50.75, 59.66 − 50.11, 91.44 − 51.80, 75.19 − 51.04.
    gains = []
    for benchmark, condition in COLUMNS:
        rows = published_rows(table=3, benchmark=benchmark, condition=condition)
        ours = best(rows, lambda row: row.training == "100%" and not row.is_oracle)
        gains.append(ours - best(rows, lambda row: row.is_baseline))
    assert gains == pytest.approx([3.63, 1.31, 32.25, 8.88, 9.55, 39.64, 24.15])
    assert round(statistics.fmean(gains), 2) == 17.06


def test_10_38_is_the_mean_gain_over_the_best_baseline_under_reversal() -> None:
    gains = []
    for benchmark in ("P-Soups", "AlignX_test"):
        rows = published_rows(table=6, benchmark=benchmark, metric="accuracy")
        gains.append(best(rows, lambda row: not row.is_baseline) - best(rows, lambda row: row.is_baseline))
    assert gains == pytest.approx([79.54 - 64.33, 57.19 - 51.64])
    assert round(statistics.fmean(gains), 2) == 10.38


@pytest.mark.parametrize("model", [*BASELINES[:3], "AlignXpert-ICA", "AlignXpert-PBA"])
def test_published_psoups_is_the_macro_average_of_its_dimensions(model: str) -> None:
    trained = "7%" if model.startswith("AlignXpert") else "none"
    whole = published(table=3, model=model, training=trained, benchmark="P-Soups", condition="PAIR")
    assert whole is not None
    assert round(macro(psoups_counts(model)), 2) == whole.value


def test_published_psoups_is_not_the_share_of_all_its_items() -> None:
    # (511 + 366 + 502) / 1802 and (507 + 398 + 475) / 1802, where Table 3 has 76.54 and 76.59.
    assert round(micro(psoups_counts("AlignXpert-ICA")), 2) == 76.53
    assert round(micro(psoups_counts("AlignXpert-PBA")), 2) == 76.58
    assert round(micro(psoups_counts("Qwen2.5-7B-Instruct")), 2) == 34.57  # 34.56 in Table 3


def test_published_informativeness_has_602_items_and_not_600() -> None:
    rows = published_rows(table=8, condition="Informativeness")
    fits = {n: [abs(100 * round(row.value * n / 100) / n - row.value) < 0.00501 for row in rows] for n in (600, 602)}
    assert all(fits[602])
    assert not any(fits[600])


def test_published_prism_fits_845_items_and_not_the_868_stated() -> None:
    rows = published_rows(table=3, benchmark="PRISM")
    assert len(rows) == 8
    fits = {n: [abs(100 * round(row.value * n / 100) / n - row.value) < 0.00501 for row in rows] for n in (845, 868)}
    assert all(fits[845])
    assert not any(fits[868])
    [file] = expected_items("PRISM")
    assert (file.value, "845" in file.note) == (868, True)


@pytest.mark.parametrize(("reddit", "total"), [("", 1_311_622), ("first README", 1_309_785)])
def test_sources_add_up_to_the_published_total(reddit: str, total: int) -> None:
    rows = [row for row in published_rows(table=1) if row.benchmark != "Reddit" or row.condition == reddit]
    assert len(rows) == 11
    assert sum(row.value for row in rows) == total


# Looking numbers up


def test_one_number_is_found_by_what_it_is() -> None:
    found = published(table=3, model="AlignXpert-ICA", training="7%", benchmark="P-Soups", condition="PAIR")
    assert found == Published("3", "AlignXpert-ICA", "7%", "P-Soups", "PAIR", "accuracy", 76.54, "")
    flip = published(table="6", model="AlignXpert-PBA", benchmark="AlignX_test", metric="flip")
    assert flip is not None
    assert (flip.value, flip.note) == (51.10, "flip not defined exactly in the paper")


def test_cell_that_the_paper_leaves_empty_is_none() -> None:
    assert published(table=3, model="VPL", benchmark="AlignX_test", condition="UGC") is None
    assert published_rows(table=9, benchmark="PRISM") == []


def test_every_table_is_there_with_all_its_numbers() -> None:
    sizes = {table: len(published_rows(table=table)) for table in (1, 2, 3, 4, 5, 6, 8, 9, "F3")}
    assert sizes == {1: 12, 2: 9, 3: 58, 4: 12, 5: 3, 6: 20, 8: 15, 9: 25, "F3": 36}
    assert len(published_rows()) == sum(sizes.values())
    assert all(0 <= row.value <= 100 for row in published_rows() if row.metric in ("accuracy", "win rate", "flip"))


def test_oracle_and_baselines_are_told_apart_from_the_methods() -> None:
    kinds = {row.model: (row.is_baseline, row.is_oracle) for row in published_rows(table=3)}
    assert set(BASELINES) == {model for model, (baseline, _) in kinds.items() if baseline}
    assert [model for model, (_, oracle) in kinds.items() if oracle] == ["AlignXpert-PBA golden"]
    assert kinds["AlignXpert-ICA"] == kinds["AlignXpert-PBA"] == (False, False)


@pytest.mark.parametrize(
    ("benchmark", "items"),
    [
        ("UF-P-4", [797, 740, 830, 621]),
        ("PRISM", [868]),
        ("P-Soups", [600, 602, 600]),
        ("P-Soups Style", [600]),
        ("AlignX_test", [3716]),
    ],
)
def test_files_of_a_benchmark_have_their_published_sizes(benchmark: str, items: list[int]) -> None:
    assert [row.value for row in expected_items(benchmark)] == items


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": "AlignXpert-ICB"}, "model 'AlignXpert-ICB' is nowhere .* did you mean 'AlignXpert-ICA'"),
        ({"table": 7}, "table '7' is nowhere in the paper's tables, expected one of 1, 2, 3, 4, 5, 6, 8, 9, F3"),
        ({"table": 3, "benchmarks": "PRISM"}, "benchmarks: no such key .* did you mean 'benchmark'"),
        ({"value": 46.91}, "value: no such key"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest(keys: dict[str, str | int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        published_rows(**keys)


def test_unknown_benchmark_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        SettingsError, match=r"benchmark 'PSoups' is not in the paper's Table 2; did you mean 'P-Soups'\?"
    ):
        expected_items("PSoups")


def test_several_numbers_are_refused_with_what_tells_them_apart() -> None:
    with pytest.raises(SettingsError, match=r"2 published numbers, expected one; say training too"):
        published(table=3, model="AlignXpert-ICA", benchmark="PRISM")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table,model,value\n3,a,1\n", r"p\.csv: columns are \['table', 'model', 'value'\], expected table, model"),
        (f"{HEADER}3,a,,b,,accuracy,high,\n", r"p\.csv:2: value is 'high', expected a number"),
        (f"{HEADER}3,a\n", r"p\.csv:2: holds more or fewer than 8 fields"),
        (f"{HEADER}3,a,,b,,accuracy,1,note, with a comma\n", r"p\.csv:2: holds more or fewer than 8 fields"),
        (f"{HEADER}3,a,,b,,accuracy,1,\n3,a,,b,,accuracy,2,\n", r"p\.csv:3: 3, a, b, accuracy is there twice"),
    ],
)
def test_broken_table_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _parse(text, "p.csv")
