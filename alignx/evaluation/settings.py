"""Settings of the evaluation commands. Importing this loads no torch."""

from pathlib import Path

from alignx.models.loading import Attention, DType
from alignx.prompts.settings import ConditionSettings, SourceSettings
from alignx.settings import Settings, required, setting


class ScoreSettings(ConditionSettings, SourceSettings):
    """Log-probabilities of both responses of every record under one model, one JSON line a record.

    A run that was interrupted continues where it stopped; a finished one does no work. Under torchrun or accelerate
    launch the processes share the records.
    """

    model: str = required("Model or adapter folder, or hub id.")
    base: str | None = setting(None, "Base of an adapter, if it is not where the adapter says.")
    output: Path = required("JSON Lines file to write.")
    reference_cache: Path | None = setting(
        None,
        "Folder where log-probabilities of models that are no checkpoint of ours are remembered; training looks there "
        "for its reference. By default $ALIGNX_CACHE, else alignx in the user's cache folder. Nothing is remembered "
        "where --attention, --batch-tokens or --no-shared-prefix are given.",
    )
    like: Path | None = setting(
        None, "Scores whose whole condition to copy, so that this model reads the same prompts."
    )
    batch_tokens: int | None = setting(
        None, "Tokens read together; changes speed, not results. By default 2,048 on a CPU, 16,384 elsewhere.", gt=0
    )
    shared_prefix: bool = setting(
        True, "Read each prompt once for both responses, where the model can; changes speed and memory, not results."
    )
    dtype: DType = setting("auto", "auto is bfloat16 on a GPU that has it, else float32.")
    attention: Attention = setting("auto", "Attention implementation of transformers.")
    revision: str | None = setting(None, "Of a hub id.")
    trust_remote_code: bool = setting(False, "Run code that comes with the model.")


class AccuracySettings(Settings):
    """Alignment accuracy of a policy against a reference, from their scores.

    python eval/acc.py --policy out/ica.jsonl --reference out/base.jsonl
    """

    policy: Path = required("Scores of the trained model.")
    reference: Path = required("Scores of the model it was trained from, under the same condition.")
    output: Path | None = setting(None, "JSON file to write, beside what is printed.")
    beta: float = setting(
        0.1, "Strength of the pull in DPO; scales the margins, never the accuracy.", gt=0, source="paper C.2"
    )
