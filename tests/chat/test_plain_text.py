"""Requests for plain text: whatever the model says is the reply, as messages or as token ids."""

from alignx.chat.question import Ask, Question, Request
from alignx.manifest import digest

QUESTION = Question("Answer.", "Why?", {}, "response", 7)


def test_a_request_without_the_newer_settings_keeps_its_id() -> None:
    old = digest("chat/1", ["m", 0.0, "text"], ["Answer.", "Why?", {}, "response", 7])[:32]
    assert Request(QUESTION, "m", 0.0, "text").id == old


def test_sampling_and_token_ids_are_part_of_the_id_and_of_what_is_sent() -> None:
    plain = Request(QUESTION, "m", 0.5, "text")
    seeded = Request(QUESTION, "m", 0.5, "text", {"seed": 1, "top_p": 0.9})
    encoded = Request(QUESTION, "m", 0.5, "text", {"seed": 1}, (5, 6))
    assert len({one.id for one in (plain, seeded, encoded, Request(QUESTION, "m", 0.5, "text", {"seed": 2}))}) == 4
    assert seeded.body == {**plain.body, "seed": 1, "top_p": 0.9}
    assert (seeded.path, encoded.path) == ("/chat/completions", "/completions")
    assert encoded.body == {"model": "m", "prompt": [5, 6], "max_tokens": 7, "temperature": 0.5, "seed": 1}


def test_only_who_takes_any_text_takes_one_that_was_cut_off() -> None:
    request = Request(QUESTION, "m", 0.5, "text")
    strict, lenient = Ask("a", request, str), Ask("a", request, str, any_text=True)
    assert [lenient.takes(finish) for finish in ("stop", "length", "content_filter", "refusal", None)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert not any(strict.takes(finish) for finish in ("stop", "length"))
