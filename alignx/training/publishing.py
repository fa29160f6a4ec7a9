"""``alignx publish``: a finished run's card, and the run on the hub where that is asked for by name."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.errors import AlignXError, DataError, ExitCode, SettingsError
from alignx.manifest import Manifest
from alignx.training.card_origin import CARD, origin
from alignx.training.curves import read_metrics
from alignx.training.measured import Measured, read_accuracy, read_report, weights_digest
from alignx.training.model_card import Recorded, make_card, reminders
from alignx.training.public_files import (
    ADAPTER,
    CURVES,
    METRICS,
    Upload,
    collect,
    left_out,
    public_name,
    refuse_private,
)
from alignx.training.publish_settings import PublishSettings, is_hub_id

DRAFT = "README.draft.md"
"""Where a library's draft of a card goes when ours takes its place."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class PublishingError(AlignXError, ConnectionError):
    """The hub refused, or could not be reached; a commit there is whole or not at all."""

    exit_code = ExitCode.PARTIAL


def publish(settings: PublishSettings) -> str:
    """Write the card, publish where asked, and return what is or would be published.

    Raises:
        DataError: The run is unfinished or changed, the card is somebody else's, an accuracy is another model's, or a
            file holds what is private.
        PublishingError: The hub refused or could not be reached.
        SettingsError: The settings contradict the record, or publishing is asked for offline or without a token.
    """
    if settings.push:
        _refuse_offline()
    folder = settings.model
    found = _finished(folder)
    run = _recorded(folder, found, settings)
    card = _card(run, settings)
    uploads = [Upload(CARD, card.encode()), *collect(folder, found, run.base)]
    refuse_private(uploads, folder, found)
    _write(folder / CARD, card)
    lines = [*_listed(uploads), *_not_listed(folder, uploads), *_advice(run, settings)]
    if not settings.push:
        where = f" as {settings.repo}" if settings.repo else ""
        return "\n".join([f"{folder / CARD}: written; --push would publish{where}:", *lines])
    url = _push(settings, uploads)
    return "\n".join([f"published: {url}", *lines])


def _refuse_offline() -> None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise SettingsError("--push: HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set; unset it, or leave --push out")
    _token()


def _token() -> str:
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise SettingsError("--push: no token of the hub; log in with `hf auth login`, or set HF_TOKEN")
    return token


def _finished(folder: Path) -> Manifest:
    """The manifest of a finished run whose files are as it left them."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected a finished run's")
    found = manifest.read(folder)
    if found.kind != "checkpoint" or not found.condition or found.model is None:
        raise DataError(f"{folder}: holds {found.kind!r}, expected a finished run of ours")
    if not any(name.endswith(".safetensors") for name in found.files):
        raise DataError(f"{folder}: its manifest names no weights")
    if not manifest.is_intact(folder, found):
        broken = [name for name in found.files if not _same(folder, found, name)]
        raise DataError(
            f"{folder}: {', '.join(broken[:3])} changed since the run finished, so the record is not about it; train "
            "again, or bring the files back"
        )
    return found


def _same(folder: Path, found: Manifest, name: str) -> bool:
    return manifest.is_intact(folder, found.model_copy(update={"files": {name: found.files[name]}}))


def _recorded(folder: Path, found: Manifest, settings: PublishSettings) -> Recorded:
    adapter = (folder / ADAPTER).is_file()
    weights = weights_digest(folder, found, adapter)
    metrics = folder / METRICS
    try:
        lines = read_metrics(metrics) if metrics.is_file() else []
    except ValueError as error:
        raise DataError(f"{metrics}: cannot be read ({error})") from error
    return Recorded(
        manifest=found,
        weights=weights,
        adapter=adapter,
        metrics=lines,
        curves=(folder / CURVES).is_file() and metrics.is_file(),
        measured=_measured(settings, weights),
        base=_agreed("--base-model", settings.base_model, _base_on_hub(found)),
        dataset=_agreed("--dataset", settings.dataset, _dataset_on_hub(found)),
    )


def _measured(settings: PublishSettings, weights: str) -> list[Measured]:
    given = [read_accuracy(path, weights) for path in settings.accuracy]
    return given if settings.report is None else [*given, *read_report(settings.report, weights)]


def _agreed(flag: str, said: str | None, recorded: str | None) -> str | None:
    if said is not None and recorded is not None and said != recorded:
        raise SettingsError(f"{flag}: got {said!r}, but the run recorded {recorded!r}")
    return recorded or said


def _base_on_hub(found: Manifest) -> str | None:
    """The base's hub id: a commit is on record for models from there only."""
    model = found.model
    if model is None or model.revision is None or _COMMIT.fullmatch(model.revision) is None:
        return None
    return None if Path(model.name).exists() else model.name


def _dataset_on_hub(found: Manifest) -> str | None:
    """The hub id that the records' source names, if it is not a path and this machine has had it from there."""
    from huggingface_hub import constants

    source = found.data.source if found.data else ""
    name = "/".join(source.partition("@")[0].split("/")[:2])
    if not is_hub_id(name) or Path(source).exists() or Path(name).exists():
        return None
    cached = Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
    return name if cached.is_dir() else None


def _card(run: Recorded, settings: PublishSettings) -> str:
    """The card to publish, once nothing of anybody's is lost by it."""
    path = settings.model / CARD
    there = path.read_text(encoding="utf-8") if path.is_file() else None
    if settings.keep_card:
        if there is None:
            raise SettingsError(f"--keep-card: there is no {path}")
        return there
    if there is not None:
        _refuse_losing(str(path), there, settings)
    return make_card(run, settings)


def _refuse_losing(where: str, there: str, settings: PublishSettings) -> None:
    problem = {"changed": "was changed by hand", "theirs": "was not made by this command"}.get(origin(there))
    if problem is not None and not settings.overwrite_card:
        raise DataError(
            f"{where}: {problem}; --overwrite-card makes it anew, --keep-card publishes the run folder's as it is"
        )


def _write(path: Path, card: str) -> None:
    """Put the card in its place; a library's draft that stood there is kept beside it."""
    if path.is_file():
        there = path.read_text(encoding="utf-8")
        if there == card:
            return
        if origin(there) == "draft":
            path.replace(path.with_name(DRAFT))
    manifest.write_text(path, card)


def _listed(uploads: Sequence[Upload]) -> list[str]:
    total = sum(upload.size for upload in uploads)
    width = len(f"{total:,}")
    lines = [
        f"  {upload.size:>{width},}  {upload.name}"
        + "  (rewritten, without paths of this machine)" * _rewritten(upload)
        for upload in uploads
    ]
    return [*lines, f"  {total:>{width},}  bytes in {len(uploads)} files"]


def _rewritten(upload: Upload) -> bool:
    return isinstance(upload.content, bytes) and upload.name != CARD


def _not_listed(folder: Path, uploads: Sequence[Upload]) -> list[str]:
    names = left_out(folder, uploads)
    return [f"not published: {', '.join(names)}"] if names else []


def _advice(run: Recorded, settings: PublishSettings) -> list[str]:
    """What the card cannot say yet, and what a licence asks."""
    missing = {
        "how well it works (--accuracy FILE or --report FILE)": not run.measured,
        "under which licence (--license; --base-license, --data-license)": settings.license is None,
        "where on the hub the adapters' base is (--base-model OWNER/NAME)": run.adapter and run.base is None,
    }
    recorded = run.manifest.model.name if run.manifest.model else ""
    return [
        *(f"the card does not say {words}" for words, true in missing.items() if true and not settings.keep_card),
        *(f"note: {line}" for line in reminders(f"{run.base_name} {public_name(recorded)}")),
    ]


def _push(settings: PublishSettings, uploads: Sequence[Upload]) -> str:
    """Publish in one commit; returns where it is."""
    from huggingface_hub import CommitOperationAdd, HfApi

    assert settings.repo is not None
    repo, api = settings.repo, HfApi()
    try:
        api.create_repo(repo, private=not settings.public, exist_ok=True)
        _refuse_unwanted(api, settings, uploads)
        operations = [CommitOperationAdd(upload.name, upload.content) for upload in uploads]
        made = api.create_commit(repo, operations, commit_message="Publish a finished AlignX run")
    except AlignXError:
        raise
    except Exception as error:  # the hub client raises many unrelated types; each means that nothing was committed
        said = " ".join(str(error).replace(_token(), "…").split())[:300] or type(error).__name__
        raise PublishingError(f"{repo}: was not published: {said}; run the same command again") from error
    return str(made.commit_url)


def _refuse_unwanted(api: Any, settings: PublishSettings, uploads: Sequence[Upload]) -> None:
    """Refuse a repository in which the commit would show more, lose more or mean less than was asked for."""
    repo = settings.repo
    if not api.model_info(repo).private and not settings.public:
        raise SettingsError(f"{repo}: is public already; give --public if everybody may read this run")
    there = set(api.list_repo_files(repo))
    stale = sorted(name for name in there - {upload.name for upload in uploads} if name.endswith(".safetensors"))
    if stale:
        raise DataError(
            f"{repo}: holds other weights ({', '.join(stale[:3])}), which would be read together with these; delete "
            "them there, or choose another --repo"
        )
    if CARD in there:
        text = Path(api.hf_hub_download(repo, CARD)).read_text(encoding="utf-8")
        if text.encode() != uploads[0].read():
            _refuse_losing(f"{repo}/{CARD}", text, settings)
