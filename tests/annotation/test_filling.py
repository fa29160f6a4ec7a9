"""From answers to rows: every direction says where it comes from, and nothing else of a row changes."""

from typing import Any

import numpy as np
import pytest

from alignx.annotation.filling import ANNOTATION, Annotation, Filler, items_to_ask
from alignx.annotation.items import item_of
from alignx.annotation.questions import Answer
from alignx.records import Comment, Dimension, RecordParser, Taxonomy, Thresholds

TAXONOMY = Taxonomy((Dimension("g", "Likes tea", "Dislikes tea"), Dimension("g", "Likes art", "Dislikes art")))
PAPER = Thresholds("0.6", "0.4")
SOURCE = {"model": "m", "way": "all", "prompt": "p"}
YES, NO, UNSURE = Answer(2, 90), Answer(0, 80), Answer(1, 70)


def comment(text: str, direction: list[float] | None = None, **others: Any) -> dict[str, Any]:
    known = {} if direction is None else {"Preference Direction": direction}
    return {"prompt": "a post", "comment": text, **known, **others}


def row(*comments: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"prompt": "post", "chosen": "yes", "rejected": "no", "User-Generated Content": list(comments), **others}


def filled(
    raw: dict[str, Any], found: dict[str, Annotation], least_certainty: int = 0, *, replace: bool = False
) -> tuple[dict[str, Any], Filler]:
    """A row filled with what was found out about its comments, by their texts."""
    record = RecordParser(TAXONOMY).parse(raw, "here")
    keyed = {item_of(Comment("a post", text)).key: annotation for text, annotation in found.items()}
    filler = Filler(keyed, TAXONOMY, PAPER, SOURCE, least_certainty, replace=replace)
    return filler.fill(record, raw), filler


def test_an_item_gets_its_direction_with_where_it_comes_from() -> None:
    done, filler = filled(row(comment("tea!")), {"tea!": Annotation((YES, UNSURE))})
    assert done["User-Generated Content"] == [
        {
            **comment("tea!", [1.0, 0.5]),
            ANNOTATION: {"model": "m", "way": "all", "prompt": "p", "certainty": [90, 70]},
        }
    ]
    assert done["profile"] == "Likes tea"
    assert (filler.counts.annotated, filler.counts.profiles, filler.counts.unannotated) == (1, 1, 0)


def test_a_failure_is_an_item_without_a_direction_and_its_reason_never_a_neutral_one() -> None:
    found = {"tea!": Annotation(problem="refused: no"), "art?": Annotation((UNSURE, NO))}
    done, filler = filled(row(comment("tea!"), comment("art?")), found)
    failed, annotated = done["User-Generated Content"]
    assert failed == {**comment("tea!"), ANNOTATION: {**SOURCE, "problem": "refused: no"}}
    assert annotated["Preference Direction"] == [0.5, 0.0]
    assert done["profile"] == "Dislikes art"
    assert (filler.counts.unannotated, filler.counts.partly) == (1, 1)


def test_a_record_of_which_nothing_is_known_gets_no_profile_and_one_of_neutrals_an_empty_one() -> None:
    done, filler = filled(row(comment("tea!")), {"tea!": Annotation(problem="empty")})
    assert "profile" not in done
    assert filler.counts.without_profile == 1
    done, filler = filled(row(comment("tea!")), {"tea!": Annotation((UNSURE, UNSURE))})
    assert done["profile"] == ""
    assert filler.counts.empty_profiles == 1
    done, filler = filled(row(), {})
    assert "profile" not in done
    assert (filler.counts.without_profile, filler.counts.without_history) == (0, 1)


@pytest.mark.parametrize(("least", "level"), [(90, 1.0), (91, 0.5)])
def test_a_pole_of_less_certainty_than_wanted_counts_as_neutral(least: int, level: float) -> None:
    done, _ = filled(row(comment("tea!")), {"tea!": Annotation((YES, UNSURE))}, least)
    assert done["User-Generated Content"][0]["Preference Direction"][0] == level
    assert done["User-Generated Content"][0][ANNOTATION]["certainty"][0] == 90


def test_what_a_row_came_with_is_kept_unless_it_is_to_be_replaced() -> None:
    raw = row(comment("tea!", [0.0, 0.5], note="own"), profile="Dislikes tea", source="a survey")
    found = {"tea!": Annotation((YES, UNSURE))}
    done, filler = filled(raw, found)
    assert done == {"id": done["id"], **raw}
    assert (filler.counts.kept, filler.counts.profiles_kept) == (1, 1)
    done, filler = filled(raw, found, replace=True)
    assert done["source"] == "a survey"
    assert done["profile"] == "Likes tea"
    (item,) = done["User-Generated Content"]
    assert (item["Preference Direction"], item["note"]) == ([1.0, 0.5], "own")


def test_a_profile_is_of_kept_and_inferred_directions_together() -> None:
    raw = row(comment("tea!", [1.0, 0.5]), comment("art?"))
    done, _ = filled(raw, {"art?": Annotation((YES, YES))})
    assert done["profile"] == "Likes tea, Likes art"  # means 1 and 0.75
    done, _ = filled(raw, {"art?": Annotation((NO, NO))})
    assert done["profile"] == "Dislikes art"  # means 0.5 and 0.25


def test_rows_as_parquet_has_them_become_plain_lists() -> None:
    raw = row(comment("tea!", [1.0, 0.5]))
    raw["User-Generated Content"] = np.array([{**comment("tea!"), "Preference Direction": np.array([1.0, 0.5])}])
    done, _ = filled(raw, {})
    assert done["User-Generated Content"] == [comment("tea!", [1.0, 0.5])]


def test_items_that_carry_a_direction_are_asked_about_only_where_wanted() -> None:
    record = RecordParser(TAXONOMY).parse(row(comment("tea!", [1, 0.5]), comment("art?")), "here")
    assert [(item.texts[-1], known) for item, known in items_to_ask(record, also_known=False)] == [("art?", None)]
    assert [(item.texts[-1], known) for item, known in items_to_ask(record, also_known=True)] == [
        ("tea!", bytes([2, 1])),
        ("art?", None),
    ]
