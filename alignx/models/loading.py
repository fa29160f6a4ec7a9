"""Finding a model's files, telling one model from another, and loading it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignx import manifest
from alignx.errors import ModelError
from alignx.manifest import ModelIdentity, digest, file_digest

DType = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "sdpa", "eager", "flash_attention_2"]

_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "tokenizer*"]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "chat_template.jinja", "chat_template.json")


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder on this machine."""

    name: str
    """As the user named it."""
    folder: Path
    revision: str | None

    def identity(self, dtype: str | None = None) -> ModelIdentity:
        """Digests of its weights and tokenizer: equal for the same model under another name."""
        weights = sorted(self.folder.glob("*.safetensors"))
        tokenizer = [self.folder / name for name in _TOKENIZER_FILES if (self.folder / name).is_file()]
        found = manifest.read_if_present(self.folder)
        trained = found is not None and found.kind == "checkpoint" and found.model is not None
        return ModelIdentity(
            name=self.name,
            trained_from=found.model.digest if trained and found and found.model else None,
            digest=digest([[path.name, file_digest(path)] for path in weights]),
            tokenizer=digest([[path.name, file_digest(path)] for path in tokenizer]),
            revision=self.revision,
            dtype=dtype,
        )


def find_model(name: str, revision: str | None = None) -> ModelFiles:
    """The files of a model folder or hub id, downloaded where needed.

    Raises:
        ModelError: Nothing is there, or it has no safetensors weights.
    """
    folder = Path(name)
    if folder.is_dir():
        found = ModelFiles(name, folder, revision)
    elif folder.exists() or name.startswith((".", "/")):
        raise ModelError(f"{name}: no such model folder")
    else:
        found = _from_hub(name, revision)
    if not (found.folder / "config.json").is_file():
        raise ModelError(f"{name}: no config.json in {found.folder}, expected a model in Hugging Face format")
    if not any(found.folder.glob("*.safetensors")):
        raise ModelError(
            f"{name}: no *.safetensors in {found.folder}; pickled weights are not loaded, convert them first"
        )
    return found


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


def load_model(files: ModelFiles, dtype: str, attention: Attention = "auto", trust_remote_code: bool = False) -> Any:
    """A causal language model, in evaluation mode, on the CPU.

    Raises:
        ModelError: It cannot be loaded, or is no causal language model.
    """
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
