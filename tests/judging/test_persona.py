"""The judge is shown what it is to be shown, in the words that the models see."""

from dataclasses import replace

import pytest

from alignx.errors import DataError
from alignx.judging.persona import PARTS, persona_text, sources
from alignx.prompts import Condition, Method, render, tell
from alignx.records import Choice, Comment, Persona, Record, load_taxonomy

TAXONOMY = load_taxonomy()
MUSIC = tuple(2 if index == 50 else 1 for index in range(90))
HISTORY = Persona((Comment("a post", "a comment", MUSIC),), (Choice("another", "yes", "no", MUSIC),), "Ann, 30.")


def record(persona: Persona) -> Record:
    return Record("r1", "What now?", "this", "that", persona)


def test_history_and_description_are_what_an_in_context_model_is_told() -> None:
    assert persona_text(record(HISTORY), ("history", "demographics"), TAXONOMY) == (
        "***Historical Behavior and User Preferences***\n\n"
        "**This person has commented on some posts:**\n\n1. *Post:*\na post\n\n*Comment:*\na comment\n\n"
        "**This person has chosen or rejected comments on some posts:**\n\n"
        "1. *Post:*\nanother\n\n*Chosen:*\nyes\n\n*Rejected:*\nno\n\nAnn, 30."
    )


@pytest.mark.parametrize("method", list(Method))
def test_every_word_that_is_shown_stands_in_the_prompt_of_a_model(method: Method) -> None:
    condition = Condition(method=method)
    prompt = render(record(HISTORY), tell(record(HISTORY), condition, TAXONOMY), condition).user
    shown = persona_text(record(HISTORY), ("history", "demographics") if method == "ica" else ("profile",), TAXONOMY)
    assert shown in prompt
    assert "What now?" not in shown


def test_parts_that_are_not_wanted_are_not_shown() -> None:
    shown = {part: persona_text(record(HISTORY), (part,), TAXONOMY) for part in PARTS}
    assert "Ann, 30." not in shown["history"]
    assert "a comment" in shown["history"]
    assert shown["demographics"].endswith("Preferences***\n\nAnn, 30.")
    assert shown["profile"] == "***User Preferences***\n\n" + TAXONOMY.dimensions[50].positive
    assert persona_text(record(HISTORY), PARTS, TAXONOMY).endswith(shown["profile"])


def test_nothing_known_is_no_text_at_all() -> None:
    neutral = Persona((Comment("p", "c", (1,) * 90),))
    assert persona_text(record(Persona()), PARTS, TAXONOMY) == ""
    assert persona_text(record(Persona(demographics="Ann")), ("history",), TAXONOMY) == ""
    assert persona_text(record(neutral), ("profile",), TAXONOMY) == ""


def test_a_profile_that_cannot_be_made_is_refused_by_record() -> None:
    undirected = replace(HISTORY, comments=(Comment("p", "c"),), choices=())
    with pytest.raises(DataError, match=r"record r1.*no 'profile'.*annotate"):
        persona_text(record(undirected), ("profile",), TAXONOMY)


def test_sources_are_the_parts_that_a_record_has() -> None:
    assert sources(HISTORY) == ("comments", "choices", "description")
    assert sources(replace(HISTORY, comments=(), profile="x")) == ("choices", "description", "profile")
    assert sources(Persona()) == ()
