"""Finding a model's files, telling one model from another, and loading it; an adapter comes with its base."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignx import manifest
from alignx.errors import ModelError
from alignx.manifest import ModelIdentity, digest, file_digest

DType = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "sdpa", "eager", "flash_attention_2"]

_ADAPTER = "adapter_config.json"
_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "tokenizer*"]
_CHANGES_NOTHING = ("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""Settings of a config.json that change no log-probability; the precision is ours to choose."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "chat_template.jinja", "chat_template.json")


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder on this machine."""

    name: str
    """As the user named it."""
    folder: Path
    revision: str | None
    base: "ModelFiles | None" = None
    """What an adapter was trained on; None for a whole model."""

    def identity(self, dtype: str | None = None) -> ModelIdentity:
        """Digests of its weights and tokenizer: equal for the same model under another name."""
        tokenizer = [self.folder / name for name in _TOKENIZER_FILES if (self.folder / name).is_file()]
        found = manifest.read_if_present(self.folder)
        trained = found is not None and found.kind == "checkpoint" and found.model is not None
        return ModelIdentity(
            name=self.name,
            trained_from=found.model.digest if trained and found and found.model else None,
            digest=self._digest(),
            tokenizer=digest([[path.name, file_digest(path)] for path in tokenizer]),
            revision=self.revision,
            dtype=dtype,
        )

    def _digest(self) -> str:
        """Of the weights and what is computed with them: an adapter's together with its base's."""
        weights = [[path.name, file_digest(path)] for path in sorted(self.folder.glob("*.safetensors"))]
        if self.base is None:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
            return digest(weights, {name: value for name, value in config.items() if name not in _CHANGES_NOTHING})
        how = json.loads((self.folder / _ADAPTER).read_text(encoding="utf-8"))
        return digest(weights, [how.get(name) for name in ("r", "lora_alpha", "use_rslora")], self.base._digest())


def find_model(name: str, revision: str | None = None, base: str | None = None) -> ModelFiles:
    """The files of a model folder or hub id, downloaded where needed; an adapter's base too.

    Args:
        name: Folder or hub id.
        revision: Of a hub id.
        base: Where an adapter's base is, if not where the adapter says.

    Raises:
        ModelError: Nothing is there, or it has no safetensors weights, or the base is not the adapter's.
    """
    folder = Path(name)
    if folder.is_dir():
        found = ModelFiles(name, folder, revision)
    elif folder.exists() or name.startswith((".", "/")):
        raise ModelError(f"{name}: no such model folder")
    else:
        found = _from_hub(name, revision)
    if (found.folder / _ADAPTER).is_file():
        return _with_base(found, base)
    if base is not None:
        raise ModelError(f"{name}: is a whole model, so it has no --base")
    if not (found.folder / "config.json").is_file():
        raise ModelError(f"{name}: no config.json in {found.folder}, expected a model in Hugging Face format")
    if not any(found.folder.glob("*.safetensors")):
        raise ModelError(
            f"{name}: no *.safetensors in {found.folder}; pickled weights are not loaded, convert them first"
        )
    return found


def _with_base(adapter: ModelFiles, base: str | None) -> ModelFiles:
    """An adapter with its base, which must be the one it was trained on where that is known."""
    if not (adapter.folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{adapter.name}: no adapter_model.safetensors beside {_ADAPTER}; pickled weights are not loaded"
        )
    try:
        named = json.loads((adapter.folder / _ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{adapter.name}: {_ADAPTER} does not say its base_model_name_or_path") from error
    try:
        found = find_model(base or str(named))
    except ModelError as error:
        raise ModelError(
            f"{adapter.name}: is an adapter, and its base is not to be had: {error}; say where: --base"
        ) from error
    ours = manifest.read_if_present(adapter.folder)
    trained_on = ours.model.digest if ours is not None and ours.model is not None else None
    if trained_on is not None and found.identity().digest != trained_on:
        raise ModelError(
            f"{adapter.name}: was trained on other weights than those of {found.name}; say where its base is: --base"
        )
    return ModelFiles(adapter.name, adapter.folder, adapter.revision, found)


def _from_hub(name: str, revision: str | None) -> ModelFiles:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_FILES, ignore_patterns=["original/*"]))
    except Exception as error:  # the hub client raises many unrelated types; each means that the model is not to be had
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{name}: no such folder here, and not to be had from the hub: {reason}") from error
    return ModelFiles(name, folder, folder.name)


def has_accelerator() -> bool:
    """Whether there is a device to compute on other than the CPU."""
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def choose_dtype(wanted: DType) -> str:
    """The dtype to compute in: ``auto`` is bfloat16 on a GPU that has it, else float32."""
    if wanted != "auto":
        return wanted
    import torch

    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def choose_attention(wanted: Attention, shared_prefix: bool) -> Attention:
    """What ``auto`` is for training: FlashAttention where each prompt is read twice and it is installed, else SDPA."""
    from transformers.utils.import_utils import is_flash_attn_2_available

    if wanted == "auto" and not shared_prefix and is_flash_attn_2_available():
        return "flash_attention_2"
    return wanted


def load_model(files: ModelFiles, dtype: str, attention: Attention = "auto", trust_remote_code: bool = False) -> Any:
    """A causal language model, in evaluation mode, on the CPU; an adapter's stays apart from its base's weights.

    Raises:
        ModelError: It cannot be loaded, or is no causal language model.
    """
    if files.base is not None:
        return with_adapter(load_model(files.base, dtype, attention, trust_remote_code), files).get_base_model()
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()  # in a log file its lines only hide others
    options = {} if attention == "auto" else {"attn_implementation": attention}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            files.folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            **options,
        )
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and ImportError for the same reason
        raise ModelError(f"{files.name}: cannot load the model: {' '.join(str(error).split())[:300]}") from error
    return model.eval()


def with_adapter(base: Any, adapter: ModelFiles) -> Any:
    """PEFT's model of a base, in place, with an adapter of ours on it, in evaluation mode.

    Raises:
        ModelError: It does not fit.
    """
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(base, adapter.folder).eval()
    except Exception as error:  # PEFT raises ValueError, RuntimeError and KeyError for the same reason
        raise ModelError(f"{adapter.name}: cannot load the adapter: {' '.join(str(error).split())[:300]}") from error
