"""Merging an adapter into its base, for tools that do not know adapters."""

from pathlib import Path

from alignx import manifest
from alignx.errors import DataError, ModelError
from alignx.manifest import Manifest
from alignx.models.loading import DType, find_model, load_model, with_adapter
from alignx.settings import Settings, required, setting


class MergeSettings(Settings):
    """Merge an adapter into its base: a whole model in a folder of its own.

    alignx merge --model out/ica-lora --output out/ica-merged
    """

    model: str = required("Adapter folder or hub id.")
    base: str | None = setting(None, "Its base, if it is not where the adapter says.")
    output: Path = required("Folder for the whole model.")
    dtype: DType = setting("auto", "Of the merged weights; auto is the base's own.")
    revision: str | None = setting(None, "Of a hub id.")
    trust_remote_code: bool = setting(False, "Run code that comes with the model.")


def merge(settings: MergeSettings) -> Path:
    """Write the merged model; returns its folder.

    The condition that the adapter was trained under stays recorded, so that it is scored with the same prompts.

    Raises:
        DataError: The output holds something.
        ModelError: The model is no adapter, or does not fit its base.
    """
    files = find_model(settings.model, settings.revision, settings.base)
    if files.base is None:
        raise ModelError(f"{settings.model}: is no adapter, there is nothing to merge")
    if settings.output.exists() and any(settings.output.iterdir()):
        raise DataError(f"{settings.output}: holds something already, choose another --output")
    from transformers import AutoConfig, AutoTokenizer

    dtype = settings.dtype
    if dtype == "auto":
        own = AutoConfig.from_pretrained(files.base.folder, trust_remote_code=settings.trust_remote_code).dtype
        dtype = str(own).removeprefix("torch.") if own is not None else "float32"  # type: ignore[assignment]
    base = load_model(files.base, dtype, trust_remote_code=settings.trust_remote_code)
    merged = with_adapter(base, files).merge_and_unload(safe_merge=True)
    merged.save_pretrained(settings.output)
    AutoTokenizer.from_pretrained(files.folder, trust_remote_code=settings.trust_remote_code).save_pretrained(
        settings.output
    )
    found = manifest.read_if_present(files.folder)
    saved = sorted(path for pattern in ("*.safetensors", "*.json", "*.jinja") for path in settings.output.glob(pattern))
    draft = found if found is not None else Manifest(kind="checkpoint", model=files.base.identity(dtype))
    manifest.write(
        settings.output,
        draft.model_copy(
            update={
                "files": {path.name: manifest.file_digest(path) for path in saved},
                "sizes": {},
                "counts": {**draft.counts, "merged_from": files.identity().digest},
            }
        ),
    )
    return settings.output
