"""Settings of publishing a run. Importing this loads no torch."""

import re
from pathlib import Path

from pydantic import field_validator, model_validator

from alignx.settings import Settings, required, setting

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_HUB_ID = re.compile(rf"{_PART}/{_PART}")
_LONGEST = 96
_WORD = re.compile(r"[a-z0-9][a-z0-9.-]*")


def is_hub_id(name: str) -> bool:
    """Whether a name is ``owner/name``, as the hub writes it."""
    odd = "--" in name or ".." in name or name.endswith(".git")
    short = all(len(part) <= _LONGEST for part in name.split("/"))
    return short and not odd and _HUB_ID.fullmatch(name) is not None


class PublishSettings(Settings):
    """Write a finished run's model card and say what would be published; with --push, publish it on the hub.

    alignx publish --model out/ica --accuracy out/ica-accuracy.json
    alignx publish --model out/ica --accuracy out/ica-accuracy.json --repo USER/NAME --push

    The card is made from what the run recorded; licences are what you say they are. The token comes from the hub's
    login (`hf auth login`) or HF_TOKEN, never from a flag.
    """

    model: Path = required("Folder of a finished run, or of an adapter of ours merged into its base.")
    repo: str | None = setting(None, "Where to publish: OWNER/NAME on the hub; made if it is not there.")
    push: bool = setting(
        False, "Publish. Without, the card is written into the folder, and nothing leaves the machine."
    )
    public: bool = setting(False, "A new repository is public, and one that is public already is meant.")
    accuracy: tuple[Path, ...] = setting(
        (), "Accuracies of this very model, as `alignx accuracy --output` writes them; with commas between."
    )
    report: Path | None = setting(
        None, "A report's results.json, as `alignx evaluate` writes it; its rows about this very model are taken."
    )
    license: str | None = setting(None, "Licence of what is published, by its identifier on the hub, such as llama3.1.")
    base_license: str | None = setting(None, "Licence of the base, in words.")
    data_license: str | None = setting(None, "Licence of the training data, in words.")
    language: str | None = setting(None, "Language of the data, such as en.")
    base_model: str | None = setting(None, "Hub id of the base, where the run began from a folder.")
    dataset: str | None = setting(None, "Hub id of the training data, where the run read them from files.")
    overwrite_card: bool = setting(False, "Make the card anew although it was changed by hand, here or on the hub.")
    keep_card: bool = setting(False, "Publish the folder's README.md as it is, whoever wrote it.")

    @field_validator("repo", "base_model", "dataset")
    @classmethod
    def _on_the_hub(cls, value: str | None) -> str | None:
        if value is not None and not is_hub_id(value):
            raise ValueError(
                f"OWNER/NAME in letters, digits, '-', '_' and '.', each at most {_LONGEST} long, such as "
                "meta-llama/Llama-3.1-8B-Instruct"
            )
        return value

    @field_validator("license", "language")
    @classmethod
    def _an_identifier(cls, value: str | None) -> str | None:
        if value is not None and _WORD.fullmatch(value) is None:
            raise ValueError("an identifier of the hub in small letters, such as apache-2.0 or en")
        return value

    @field_validator("base_license", "data_license")
    @classmethod
    def _in_words(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("words")
        return value

    @model_validator(mode="after")
    def _pushing_needs_a_place(self) -> "PublishSettings":
        if self.push and self.repo is None:
            raise ValueError("--push needs --repo OWNER/NAME")
        return self
