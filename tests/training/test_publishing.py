"""Publishing a run: what leaves the machine and what never does, whose card it is, and trackers."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import alignx
from alignx import manifest
from alignx.cli import main
from alignx.errors import DataError, ExitCode, SettingsError
from alignx.models.loading import find_model
from alignx.prompts import choose_condition
from alignx.training.configuring import refuse_unknown_trackers
from alignx.training.measured import weights_digest
from alignx.training.public_files import public_name
from alignx.training.publish_settings import PublishSettings
from alignx.training.publishing import DRAFT, PublishingError, publish
from tests.training.finished_runs import JOES, LLAMA, RECORD, STAYS, change_manifest, finished_run, write_json
from tests.training.runs import read_jsonl, short_records, snapshot
from tests.worlds import write_jsonl

ROOT = Path(alignx.__file__).parents[1]
REPO = "joe/Llama-ica"
TOKEN = "hf_plantedPlantedPlantedPlanted"
GOES = {
    "README.md",
    "chat_template.jinja",
    "config.json",
    "curves.png",
    "manifest.json",
    "metrics.jsonl",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "settings.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
"""What of a run may be published."""


@dataclass
class Hub:
    """Stands for the hub: remembers what it was asked, and has what it is given."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    private: bool | None = None
    """None: there is no repository yet."""
    folder: Path = Path()
    broken: Exception | None = None

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        self.calls.append(("create_repo", {"repo_id": repo_id, "private": private, "exist_ok": exist_ok}))
        self.private = private if self.private is None else self.private  # as the hub: that of an old one stays

    def model_info(self, repo_id: str) -> Any:
        return SimpleNamespace(private=self.private)

    def list_repo_files(self, repo_id: str) -> list[str]:
        return list(self.files)

    def hf_hub_download(self, repo_id: str, filename: str) -> str:
        path = self.folder / filename
        path.write_bytes(self.files[filename])
        return str(path)

    def create_commit(self, repo_id: str, operations: list[Any], *, commit_message: str) -> Any:
        if self.broken is not None:
            raise self.broken
        self.calls.append(("create_commit", {"repo_id": repo_id, "names": [o.path_in_repo for o in operations]}))
        for operation in operations:
            with operation.as_file() as stream:
                self.files[operation.path_in_repo] = stream.read()
        return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1")

    def saved(self, folder: Path) -> Path:
        """Its files as somebody else downloads them."""
        folder.mkdir()
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "run")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    """The hub, reachable and with a token; in this process only."""
    import huggingface_hub
    from huggingface_hub import constants

    made = Hub(folder=tmp_path / "hub")
    made.folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    return made


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking the hub for anything fails the test."""
    import huggingface_hub

    def asked() -> None:
        raise AssertionError("the hub was asked although nothing was to be published")

    monkeypatch.setattr(huggingface_hub, "HfApi", asked)


def pushing(run: Path, **settings: Any) -> PublishSettings:
    return PublishSettings(model=run, push=True, **{"repo": REPO, **settings})


# What leaves the machine.


@pytest.mark.usefixtures("no_hub")
def test_without_push_only_the_card_is_written_and_every_file_is_listed_with_its_size(run: Path) -> None:
    before = snapshot(run)
    said = publish(PublishSettings(model=run, repo=REPO))
    after = snapshot(run)
    assert after.keys() - before.keys() == {"README.md"}
    assert {name: after[name] for name in before} == before
    listed = {}
    for line in said.splitlines():
        words = line.split()
        if len(words) >= 2 and words[1] in GOES:
            listed[words[1]] = int(words[0].replace(",", ""))
    assert listed.keys() == GOES
    same = {"README.md", "metrics.jsonl", "tokenizer.json", "model-00002-of-00002.safetensors"}
    assert {name: listed[name] for name in same} == {name: (run / name).stat().st_size for name in same}
    assert f"  {sum(listed.values()):,}  bytes in 12 files" in said
    assert REPO in said


def test_what_stays_is_named(run: Path) -> None:
    (line,) = (line for line in publish(PublishSettings(model=run)).splitlines() if line.startswith("not published: "))
    named = set(line.removeprefix("not published: ").split(", "))
    assert named == {name.split("/")[0] + "/" * ("/" in name) for name in STAYS}


def test_exactly_the_listed_files_are_pushed_to_a_private_repository(run: Path, hub: Hub) -> None:
    assert publish(pushing(run)).startswith(f"published: https://huggingface.co/{REPO}/commit/1\n")
    assert hub.calls[0] == ("create_repo", {"repo_id": REPO, "private": True, "exist_ok": True})
    ((name, call),) = hub.calls[1:]
    assert name == "create_commit"
    assert call["repo_id"] == REPO
    assert sorted(call["names"]) == sorted(GOES), "each once"
    assert hub.files.keys() == GOES
    for name in GOES - {"settings.json", "config.json", "tokenizer_config.json", "manifest.json", "curves.png"}:
        assert hub.files[name] == (run / name).read_bytes(), name


def test_public_is_said_by_name(run: Path, hub: Hub) -> None:
    publish(pushing(run, public=True))
    assert hub.calls[0][1]["private"] is False


def test_no_record_no_id_and_no_path_of_the_machine_leaves_it(run: Path, hub: Hub) -> None:
    publish(pushing(run))
    for name, content in hub.files.items():
        for private in (RECORD, JOES, str(run), str(Path.home()) + "/"):
            assert private.encode() not in content, f"{name} holds {private}"
    said = json.loads(hub.files["settings.json"])
    assert (said["model"], said["data"], said["output"]) == ("tiny-base", "users.jsonl", "out/run")
    assert said["beta"] == 0.1
    assert json.loads(hub.files["tokenizer_config.json"]) == {"bos_token": "/s", "name_or_path": "tiny-base"}
    assert json.loads(hub.files["config.json"]) == {"model_type": "llama", "_name_or_path": "tiny-base"}


def test_names_that_a_changed_manifest_adds_are_not_published(run: Path, hub: Hub) -> None:
    more = {name: manifest.file_digest(run / name) for name in STAYS}
    change_manifest(run, files={**manifest.read(run).files, **more})
    publish(pushing(run))
    assert hub.files.keys() == GOES


def test_a_published_manifest_fits_the_published_files_and_tells_scoring_the_same(
    run: Path, hub: Hub, tmp_path: Path
) -> None:
    ours = manifest.read(run)
    publish(pushing(run))
    theirs = hub.saved(tmp_path / "downloaded")
    found = manifest.read(theirs)
    assert manifest.is_intact(theirs, found)
    assert found.files.keys() == GOES - {"README.md", "curves.png", "manifest.json", "metrics.jsonl"}
    assert (found.condition, found.counts, found.taxonomy) == (ours.condition, ours.counts, ours.taxonomy)
    assert found.data is not None
    assert ours.data is not None
    assert (found.data.digest, found.data.source) == (ours.data.digest, "users.jsonl")
    chosen = choose_condition("joe/Llama-ica", {"method": "ica"}, folder=theirs)
    assert (chosen.condition.preset, chosen.reason) == ("paper", "as its checkpoint records")
    identity = find_model(str(theirs)).identity()
    assert identity.digest == weights_digest(run, ours, False) == find_model(str(run)).identity().digest
    assert identity.trained_from == "b" * 64


def test_files_of_a_run_on_hub_names_are_published_as_they_are(tmp_path: Path, hub: Hub) -> None:
    run = finished_run(tmp_path / "run", on_hub=True)
    publish(pushing(run))
    for name in GOES - {"manifest.json"}:
        assert hub.files[name] == (run / name).read_bytes(), name


def test_curves_are_drawn_again_where_their_title_is_a_path(run: Path, hub: Hub, tmp_path: Path) -> None:
    from alignx.training.curves import plot_curves

    publish(pushing(run))
    plot_curves(run / "metrics.jsonl", tmp_path / "again.png", "ICA: tiny-base")
    assert hub.files["curves.png"] == (tmp_path / "again.png").read_bytes()
    assert hub.files["curves.png"] != (run / "curves.png").read_bytes()


@pytest.mark.parametrize(("said", "named"), [(None, "tiny-base"), ("joe/tiny-base-1", "joe/tiny-base-1")])
def test_an_adapter_names_its_base_as_others_know_it(tmp_path: Path, hub: Hub, said: str | None, named: str) -> None:
    run = finished_run(tmp_path / "run", adapter=True)
    told = publish(pushing(run, base_model=said))
    config = json.loads(hub.files["adapter_config.json"])
    assert config == {"base_model_name_or_path": named, "r": 64, "lora_alpha": 128}
    assert "adapter_model.safetensors" in hub.files
    assert ("--base-model" in told) is (said is None)


def test_an_adapters_weights_are_named_together_with_its_bases(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    write_json(base / "config.json", {})
    (base / "model.safetensors").write_bytes(b"base")
    of_base = find_model(str(base)).identity("float32")
    run = finished_run(tmp_path / "run", adapter=True, model=of_base)
    assert weights_digest(run, manifest.read(run), True) == find_model(str(run), base=str(base)).identity().digest


def test_a_merged_model_has_no_settings_or_curves_and_is_published(tmp_path: Path, hub: Hub) -> None:
    run = finished_run(tmp_path / "run")
    for name in ("settings.json", "metrics.jsonl", "curves.png", "split.json"):
        (run / name).unlink()
    found = manifest.read(run)
    files = {name: value for name, value in found.files.items() if (run / name).is_file()}
    change_manifest(run, files=files, counts={**found.counts, "merged_from": "m" * 64})
    publish(pushing(run))
    assert hub.files.keys() == GOES - {"settings.json", "metrics.jsonl", "curves.png"}
    assert b"the adapters were then merged into the base" in hub.files["README.md"]


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("/home/joe/users.jsonl", "users.jsonl"),
        ("/data", "data"),
        ("~/runs/ica/", "ica"),
        ("../../joe/ica", "ica"),
        ("out/../../ica", "ica"),
        ("..", ".."),
        ("C:\\Users\\joe\\ica", "ica"),
        ("D:/joe/ica", "ica"),
        ("out/ica", "out/ica"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("JinaLeejnl/AlignX@main/train.json", "JinaLeejnl/AlignX@main/train.json"),
        ("sampled", "sampled"),
        ("", ""),
    ],
)
def test_a_public_name_says_nothing_of_the_machine(name: str, public: str) -> None:
    assert public_name(name) == public


# What must never leave it.


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN", "my_secret", "DB_PASSWORD"])
def test_a_secret_in_a_file_is_refused_by_its_variable_and_not_repeated(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    secret = "sk-planted-0123456789"
    monkeypatch.setenv(name, secret)
    (run / "metrics.jsonl").write_text(json.dumps({"step": 1, "note": secret}) + "\n")
    with pytest.raises(DataError, match=rf"metrics\.jsonl: holds the value of \${name}") as caught:
        publish(pushing(run))
    assert secret not in str(caught.value)
    assert hub.calls == []


def test_a_path_that_comes_through_is_refused(run: Path, hub: Hub) -> None:
    (run / "chat_template.jinja").write_text(f"{{# kept in {run} #}}")
    files = manifest.read(run).files
    change_manifest(run, files={**files, "chat_template.jinja": manifest.file_digest(run / "chat_template.jinja")})
    with pytest.raises(DataError, match=r"chat_template\.jinja: holds the path "):
        publish(pushing(run))
    assert hub.calls == []
    assert not (run / "README.md").exists()


def test_no_setting_takes_a_token(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not [name for name in PublishSettings.model_fields if "token" in name or "key" in name]
    code, said = refused(["--model", str(run), "--token", TOKEN], capsys)
    assert code == 2
    assert TOKEN not in said


# Refusals.


def refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of the command and the one line that it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["publish", *flags])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return int(str(left.value.code)), captured.err


def unfinished(run: Path) -> None:
    manifest.path_of(run).unlink()


def a_checkpoint(run: Path) -> None:
    change_manifest(run, kind="training-state")


def another_kind(run: Path) -> None:
    change_manifest(run, kind="tiny-model")


def a_lost_shard(run: Path) -> None:
    (run / "model-00002-of-00002.safetensors").unlink()


def changed_weights(run: Path) -> None:
    (run / "model-00001-of-00002.safetensors").write_bytes(b"weightz")


def no_weights(run: Path) -> None:
    change_manifest(run, files={})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (unfinished, "unfinished"),
        (a_checkpoint, "holds 'training-state', expected a finished run"),
        (another_kind, "holds 'tiny-model', expected a finished run"),
        (a_lost_shard, "model-00002-of-00002.safetensors changed since the run finished"),
        (changed_weights, "model-00001-of-00002.safetensors changed since the run finished"),
        (no_weights, "names no weights"),
    ],
)
def test_anything_but_a_finished_run_as_it_was_left_is_refused(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str], spoil: Any, said: str
) -> None:
    spoil(run)
    code, line = refused(["--model", str(run), "--repo", REPO, "--push"], capsys)
    assert code == 3
    assert said in line
    assert hub.calls == []
    assert not (run / "README.md").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = refused(["--model", str(tmp_path / "none")], capsys)
    assert code == 3
    assert "no such folder" in line


@pytest.mark.parametrize(
    "repo",
    [
        *["ica", "a/b/c", "joe/", "/ica", "../ica", "joe/a b", "joe/ica.git", "joe/-ica", "joe/a--b", "joe/a..b"],
        *["https://huggingface.co/joe/ica", "joe/münchen", f"joe/{'i' * 97}"],
    ],
)
def test_a_repository_that_is_no_owner_and_name_is_refused(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str], repo: str
) -> None:
    code, line = refused(["--model", str(run), "--push", f"--repo={repo}"], capsys)
    assert code == 2
    assert "--repo" in line
    assert "OWNER/NAME" in line
    assert hub.calls == []


@pytest.mark.parametrize("repo", [LLAMA, "joe/ica_2", "J0/x", f"joe/{'i' * 96}"])
def test_a_repository_of_an_owner_is_accepted(run: Path, repo: str) -> None:
    assert PublishSettings(model=run, repo=repo).repo == repo


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--push"], "--push needs --repo OWNER/NAME"),
        (["--license", "Apache 2.0"], "--license"),
        (["--language", "English!"], "--language"),
        (["--data-license", " "], "--data-license"),
        (["--base-model", "a/b/c"], "--base-model"),
        (["--keep-card"], "--keep-card: there is no"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(
    run: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    code, line = refused(["--model", str(run), *flags], capsys)
    assert code == 2
    assert said in line


def test_another_base_than_the_recorded_one_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", on_hub=True)
    with pytest.raises(SettingsError, match=r"--base-model: got 'joe/other', but the run recorded 'meta-llama/"):
        publish(PublishSettings(model=run, base_model="joe/other"))


def test_pushing_offline_is_refused_before_anything_is_written(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, line = refused(["--model", str(run), "--repo", REPO, "--push"], capsys)
    assert code == 2
    assert "HF_HUB_OFFLINE" in line
    assert hub.calls == []
    assert not (run / "README.md").exists()


def test_pushing_without_a_token_says_how_to_have_one(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    code, line = refused(["--model", str(run), "--repo", REPO, "--push"], capsys)
    assert code == 2
    assert "hf auth login" in line
    assert hub.calls == []


def test_what_the_hub_says_is_one_line_without_the_token(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.broken = OSError(f"403 Forbidden\nfor url https://huggingface.co with {TOKEN}")
    code, line = refused(["--model", str(run), "--repo", REPO, "--push"], capsys)
    assert code == ExitCode.PARTIAL
    assert "was not published: 403 Forbidden for url" in line
    assert TOKEN not in line
    hub.broken = None
    assert publish(pushing(run)).startswith("published: "), "the same command again"
    assert issubclass(PublishingError, ConnectionError)


def test_a_repository_that_is_public_already_is_refused_unless_that_is_meant(run: Path, hub: Hub) -> None:
    hub.private = False
    with pytest.raises(SettingsError, match=rf"^{REPO}: is public already; give --public"):
        publish(pushing(run))
    assert hub.files == {}
    publish(pushing(run, public=True))
    assert hub.files.keys() == GOES


def test_other_weights_in_the_repository_are_refused(run: Path, hub: Hub) -> None:
    hub.files["model-00003-of-00003.safetensors"] = b"of a larger run"
    with pytest.raises(DataError, match=r"holds other weights \(model-00003-of-00003\.safetensors\)"):
        publish(pushing(run))
    assert hub.files.keys() == {"model-00003-of-00003.safetensors"}


def test_the_same_run_can_be_published_again(run: Path, hub: Hub) -> None:
    hub.files[".gitattributes"] = b"*.safetensors filter=lfs"
    publish(pushing(run))
    publish(pushing(run, license="apache-2.0"))
    assert b"license: apache-2.0" in hub.files["README.md"]
    assert [name for name, _ in hub.calls].count("create_commit") == 2


# Whose card it is.


def test_a_card_of_ours_is_made_anew(run: Path) -> None:
    publish(PublishSettings(model=run))
    publish(PublishSettings(model=run, license="apache-2.0"))
    assert "license: apache-2.0" in (run / "README.md").read_text(encoding="utf-8")


def by_hand(run: Path) -> str:
    """Change a word of a card of ours."""
    publish(PublishSettings(model=run))
    text = (run / "README.md").read_text(encoding="utf-8").replace("Limits", "Known limits")
    (run / "README.md").write_text(text, encoding="utf-8")
    return text


def somebody_elses(run: Path) -> str:
    (run / "README.md").write_text("# Mine\n", encoding="utf-8")
    return "# Mine\n"


@pytest.mark.parametrize(
    ("write", "said"), [(by_hand, "was changed by hand"), (somebody_elses, "was not made by this command")]
)
def test_a_card_that_is_not_as_we_made_it_is_kept(run: Path, hub: Hub, write: Any, said: str) -> None:
    text = write(run)
    with pytest.raises(DataError, match=rf"README\.md: {said}; --overwrite-card makes it anew, --keep-card"):
        publish(pushing(run))
    assert (run / "README.md").read_text(encoding="utf-8") == text
    assert hub.calls == []


@pytest.mark.parametrize("write", [by_hand, somebody_elses])
def test_a_kept_card_is_published_as_it_is(run: Path, hub: Hub, write: Any) -> None:
    text = write(run)
    publish(pushing(run, keep_card=True))
    assert hub.files["README.md"].decode() == text == (run / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("write", [by_hand, somebody_elses])
def test_a_card_is_overwritten_where_that_is_asked_for(run: Path, hub: Hub, write: Any) -> None:
    write(run)
    publish(pushing(run, overwrite_card=True))
    assert b"made by alignx publish" in hub.files["README.md"]
    assert b"Known limits" not in hub.files["README.md"]


def test_a_kept_card_with_a_path_of_the_machine_is_refused(run: Path, hub: Hub) -> None:
    (run / "README.md").write_text(f"Trained from {JOES}/tiny-base\n")
    with pytest.raises(DataError, match=r"README\.md: holds the path /home/joe/secret-project/tiny-base"):
        publish(pushing(run, keep_card=True))
    assert hub.calls == []


def test_a_card_that_was_changed_on_the_hub_is_not_lost(run: Path, hub: Hub) -> None:
    publish(pushing(run))
    hub.files["README.md"] += b"\nAsk Joe.\n"
    with pytest.raises(DataError, match=rf"^{REPO}/README\.md: was changed by hand"):
        publish(pushing(run))
    assert hub.files["README.md"].endswith(b"Ask Joe.\n")
    publish(pushing(run, overwrite_card=True))
    assert b"Ask Joe" not in hub.files["README.md"]


@pytest.mark.parametrize(
    "draft",
    [
        "---\nbase_model: x\n---\n# Model Card for ica\n\nIt has been trained using "
        "[TRL](https://github.com/huggingface/trl).\n",
        "---\nlibrary_name: peft\n---\n# Model Card\n\n<!-- Provide a quick summary of what the model is/does. -->\n",
    ],
)
def test_a_draft_that_a_library_left_makes_room_and_is_kept_and_not_published(run: Path, hub: Hub, draft: str) -> None:
    (run / "README.md").write_text(draft, encoding="utf-8")
    publish(pushing(run))
    assert b"made by alignx publish" in hub.files["README.md"]
    assert (run / DRAFT).read_text(encoding="utf-8") == draft
    assert DRAFT not in hub.files


# The command.


@pytest.mark.usefixtures("no_hub")
def test_the_command_prints_what_would_be_published(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["publish", "--model", str(run), "--repo", REPO])
    said = capsys.readouterr().out
    assert said.startswith(f"{run}/README.md: written; --push would publish as {REPO}:\n")
    assert "does not say how well it works (--accuracy FILE or --report FILE)" in said
    assert "does not say under which licence" in said


def test_several_accuracies_can_be_named_in_either_way(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, ...]] = []
    monkeypatch.setattr("alignx.training.publishing.publish", lambda settings: seen.append(settings.accuracy))
    main(["publish", "--model", str(run), "--accuracy", "a.json", "--accuracy", "b.json"])
    main(["publish", "--model", str(run), "--accuracy", "a.json,b.json"])
    assert seen == [(Path("a.json"), Path("b.json"))] * 2


# A real run, under a tracker, with secrets around it.

SECRETS = {"WANDB_API_KEY": "sk-planted-0123456789abcdef", "HF_TOKEN": TOKEN, "COMET_API_KEY": "planted-comet-key-42"}
WRITER = """
import json, pathlib
class SummaryWriter:
    def __init__(self, log_dir):
        self.path = pathlib.Path(log_dir) / "events.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
    def add_text(self, *words): self._add(words)
    def add_scalar(self, *words): self._add(words)
    def _add(self, words):
        with self.path.open("a") as stream: stream.write(json.dumps(words) + "\\n")
    def flush(self): pass
    def close(self): pass
"""
"""tensorboardX, as far as transformers' callback knows it."""


@dataclass(frozen=True)
class Real:
    """A finished run of two steps."""

    output: Path
    said: str
    """On both streams."""


@pytest.fixture(scope="module")
def real(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Real:
    """The stand-in after two steps, as `alignx train --report-to tensorboard` leaves it; read-only."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "packages/tensorboard").mkdir(parents=True)
    (folder / "packages/tensorboard/__init__.py").write_text("raise ImportError('only tensorboardX is here')\n")
    (folder / "packages/tensorboardX.py").write_text(WRITER)
    rows = [{"id": f"private-id-{i}", **row} for i, row in enumerate(short_records(24, seed=5))]
    data = write_jsonl(folder / "users.jsonl", rows)
    flags = ["--model", str(tiny_model), "--data", str(data), "--output", str(folder / "ica"), "--method", "ica"]
    flags += ["--global-batch", "4", "--micro-batch", "2", "--max-steps", "2", "--eval-rows", "3", "--log-batches"]
    flags += ["--no-gradient-checkpointing", "--dtype", "float32", "--report-to", "tensorboard"]
    path = os.pathsep.join([str(ROOT), str(folder / "packages")])
    done = subprocess.run(
        [sys.executable, "-m", "alignx", "train", *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **SECRETS, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Real(folder / "ica", done.stdout + done.stderr)


def test_a_tracker_that_trl_supports_gets_each_step(real: Real) -> None:
    (events,) = real.output.glob("runs/*/events.jsonl")
    losses = [(step, value) for name, value, *step in read_jsonl(events) if name == "train/loss"]
    assert [step for step, _ in losses] == [[1], [2]]
    logged = [line["loss"] for line in read_jsonl(real.output / "metrics.jsonl") if "loss" in line]
    assert [value for _, value in losses] == pytest.approx(logged)


def test_a_secret_of_the_environment_is_in_no_file_of_a_run_and_not_on_the_screen(real: Real) -> None:
    files = [path for path in real.output.rglob("*") if path.is_file()]
    assert {"settings.json", "manifest.json", "events.jsonl"} <= {path.name for path in files}
    for name, secret in SECRETS.items():
        assert [path for path in files if secret.encode() in path.read_bytes()] == [], name
        assert secret not in real.said, name


def test_a_real_run_is_published_and_read_by_others(
    real: Real, tiny_model: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    said = publish(pushing(real.output))
    theirs = hub.saved(tmp_path / "downloaded")
    identity = find_model(str(theirs)).identity()
    assert identity.digest == find_model(str(real.output)).identity().digest
    assert identity.digest == weights_digest(real.output, manifest.read(real.output), False)
    assert manifest.is_intact(theirs, manifest.read(theirs))
    assert {"model.safetensors", "config.json", "tokenizer.json", "settings.json"} <= hub.files.keys()
    assert not [name for name in hub.files if "/" in name or name.startswith("batches")]
    for name, content in hub.files.items():
        for private in ("private-id-", str(real.output.parent), str(tiny_model), *SECRETS.values()):
            assert private.encode() not in content, f"{name} holds {private}"
    card = hub.files["README.md"].decode()
    assert identity.digest in card
    assert "Optimiser steps: 2; processes: 1. " in card
    assert "means over n = 3 records" in card
    assert "runs/" in next(line for line in said.splitlines() if line.startswith("not published: "))


# Which trackers there are.


def test_a_known_tracker_whose_package_is_there_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainerCallback
    from transformers.integrations import integration_utils

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", TrainerCallback)
    monkeypatch.setattr(integration_utils, "is_tensorboard_available", lambda: True)
    refuse_unknown_trackers("tensorboard")


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "trackio", "mlflow"])
def test_a_known_tracker_whose_package_is_missing_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from transformers.integrations import integration_utils

    monkeypatch.setattr(integration_utils, f"is_{name}_available", lambda: False)
    with pytest.raises(SettingsError, match=rf"--report-to.*{name}"):
        refuse_unknown_trackers(name)


@pytest.mark.parametrize("name", ["nonsense", "wandb,tensorboard", "WandB", ""])
def test_an_unknown_tracker_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(SettingsError, match=r"expected none, all, or one of .*tensorboard.*wandb") as caught:
        refuse_unknown_trackers(name)
    assert f"got {name!r}" in str(caught.value)


def test_all_means_every_tracker_that_is_installed_and_none_means_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainingArguments, integrations

    for name in ("none", "all"):
        refuse_unknown_trackers(name)
    monkeypatch.setattr(integrations, "get_available_reporting_integrations", lambda: ["tensorboard", "mlflow"])
    arguments = {name: TrainingArguments(str(tmp_path), report_to=name, use_cpu=True) for name in ("none", "all")}
    assert arguments["none"].report_to == []
    assert arguments["all"].report_to == ["tensorboard", "mlflow"]
