"""Which server is asked, and with which key."""

from typing import Any

import pytest

from alignx.annotation.settings import AnnotateSettings
from alignx.chat.settings import ServerSettings
from alignx.errors import SettingsError
from alignx.settings import parse, read_yaml, validate


def of(*flags: str) -> ServerSettings:
    settings = parse(ServerSettings, list(flags), "ask")
    assert isinstance(settings, ServerSettings)
    return settings


@pytest.mark.parametrize("word", ["none", "None", "null", " NONE "])
def test_the_temperature_can_be_left_to_the_server(word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert of("--temperature", word).temperature is None
    assert of().temperature == 0.0
    assert of("--temperature", "0.7").temperature == 0.7
    annotating = parse(AnnotateSettings, ["--data", "d", "--output", "o", "--model", "m", "--temperature", word], "p")
    assert annotating.temperature is None  # type: ignore[attr-defined]
    file = tmp_path / "settings.yaml"
    file.write_text(f"temperature: '{word}'\n")
    assert validate(ServerSettings, read_yaml(file)).temperature is None
    monkeypatch.setenv("ALIGNX_TEMPERATURE", word)
    assert of().temperature is None


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--temperature", "-1"), ("--temperature", "hot"), ("--concurrency", "0"), ("--timeout", "0"),
        ("--patience", "-1"), ("--patience", "inf"), ("--tries", "0"), ("--max-cost", "0"), ("--structure", "xml"),
    ],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_refused_by_name(flag: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{flag}: got '{value}'"):
        of(flag, value)


@pytest.mark.parametrize(
    ("given", "url", "here"),
    [
        (None, "https://api.openai.com/v1", False),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1", True),
        ("http://127.0.0.2/v1", "http://127.0.0.2/v1", True),
        ("http://[::1]:80/v1", "http://[::1]:80/v1", True),
        ("https://llm.example.org/a/b/v1", "https://llm.example.org/a/b/v1", False),
        ("https://localhost.example.org/v1", "https://localhost.example.org/v1", False),
        ("http://10.0.0.3:8000/v1", "http://10.0.0.3:8000/v1", False),
    ],
)
def test_the_address_is_taken_as_it_is(
    given: str | None, url: str, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example.org/v1")
    assert ServerSettings(base_url=given).url == url
    assert ServerSettings(base_url=given).is_here is here


def test_an_address_in_the_environment_of_another_tool_is_neither_followed_nor_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example.org/v1")
    with pytest.raises(SettingsError, match="OPENAI_BASE_URL is set and not read here"):
        _ = ServerSettings().url


@pytest.mark.parametrize(
    "given",
    ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http://host:0/v1", "http://h:99999/v1", "http://[::1/v1"],
)
def test_what_is_no_address_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(
        SettingsError, match=r"--base-url: got .*, expected an address such as http://localhost:8000/v1"
    ):
        _ = ServerSettings(base_url=given).url


@pytest.mark.parametrize(
    "given",
    ["http://u:p4ss@host/v1", "u:p4ss@host/v1", "http://host/v1?key=p4ss", "http://host/#p4ss", "http://u:p4ss@[x/v1"],
)
def test_an_address_with_a_key_in_it_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(SettingsError, match="holds a user name, a password or a query") as caught:
        _ = ServerSettings(base_url=given).url
    assert "p4ss" not in str(caught.value)


def test_the_key_comes_from_the_named_variable_without_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-first\n")
    monkeypatch.setenv("MY_LLM", "sk-second")
    assert ServerSettings().key() == "sk-first"
    assert ServerSettings(api_key_env="MY_LLM").key() == "sk-second"


def test_a_missing_key_is_an_error_where_one_is_needed_or_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert ServerSettings(base_url="http://localhost:1/v1").key() == "none"
    with pytest.raises(
        SettingsError, match=r"OPENAI_API_KEY is not set: put the key of https://api.openai.com/v1 there"
    ):
        ServerSettings().key()
    for base_url in (None, "http://localhost:1/v1"):
        with pytest.raises(
            SettingsError, match="the environment variable that --api-key-env names is not set"
        ) as caught:
            ServerSettings(base_url=base_url, api_key_env="hf_MayBeAKey").key()
        assert "hf_MayBeAKey" not in str(caught.value)


@pytest.mark.parametrize("value", ["sk with space", "sk-new\nline", "sk-naïve", "sk-\x00"[:3] + "\x01"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(SettingsError, match="no key has, expected a key alone") as caught:
        ServerSettings().key()
    assert value not in str(caught.value)


def test_the_key_itself_in_place_of_its_variable_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError, match="expected the name of an environment variable") as caught:
        ServerSettings(api_key_env="sk-abc-def").key()
    assert "sk-abc" not in str(caught.value)
