"""Scoring a source of records to a JSON Lines file: shared among processes, resumable, committed by its manifest."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from alignx import manifest
from alignx.cache import cache_folder
from alignx.drafts import Drafts, Words, is_whole, read_lines
from alignx.errors import DataError
from alignx.evaluation.settings import ScoreSettings
from alignx.manifest import DataIdentity, Manifest, ModelIdentity
from alignx.models.candidates import BATCH_TOKENS, Candidates
from alignx.models.loading import Attention, ModelFiles, choose_dtype, find_model, has_accelerator, load_model
from alignx.models.score_cache import ScoreCache, Scores, pair_key
from alignx.prompts import Condition, EncodedPair, Encoder, condition_asked_for, load_tokenizer
from alignx.prompts.pairs import describe_counts
from alignx.prompts.preparing import Cached
from alignx.records import Taxonomy


class UntellableError(DataError):
    """The records cannot be read, or not be told to a model under this condition."""


Loader = Callable[[ModelFiles, str, Attention, bool], Any]
IDENTITY = (
    "kind",
    "data.digest",
    "data.records",
    "taxonomy",
    "condition",
    "model.digest",
    "model.tokenizer",
    "model.dtype",
)
"""What two runs must share for one to continue the other."""


WORDS = Words(lines="scores", line="score", doing="scoring", done="scored", do="score")


class Score(BaseModel):
    """One line of a scores file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    chosen: float
    """Log-probability of the preferred response given the prompt, summed over its tokens, in nats."""
    rejected: float
    prompt_tokens: int
    chosen_tokens: int
    rejected_tokens: int
    cluster: str
    """User where known, else distinct target."""
    target: str
    trimmed_items: int
    trimmed_demographics: bool
    history_items: int
    profile: str
    persona_empty: bool


def score(settings: ScoreSettings, *, load: Loader | None = None, quiet: bool = False) -> Path:
    """Score every record; returns the file.

    Args:
        settings: Model, records, condition and output.
        load: Loads the model, if not :func:`alignx.models.loading.load_model`: one that remembers, perhaps.
        quiet: Whether to say nothing on the way.

    Raises:
        UntellableError: Records are invalid, or lack what the condition needs.
        DataError: ``output`` holds scores of something else, or is being written.
        ModelError: The model or its tokenizer cannot do this.
        SettingsError: The condition contradicts ``like`` or lacks a method.
    """
    return _Run(settings, load or load_model, quiet).run()


class _Run:
    """One process's part of a scoring run."""

    def __init__(self, settings: ScoreSettings, load: Loader, quiet: bool) -> None:
        from accelerate import PartialState

        self.settings = settings
        self._load = load
        self._quiet = quiet
        self.state = PartialState(cpu=not has_accelerator())
        self.output = settings.output
        self._reason = ""
        self._forward: dict[str, Any] | None = None
        self.drafts = Drafts(self.output, Score, WORDS, IDENTITY, self.state, self._say)

    def run(self) -> Path:
        with self.drafts:
            return self._run()

    def _run(self) -> Path:
        from accelerate.utils import gather_object

        settings = self.settings
        self.output.parent.mkdir(parents=True, exist_ok=True)
        files = find_model(settings.model, settings.revision, settings.base)
        condition = self._condition(files)
        records = settings.records()
        identity = files.identity(choose_dtype(settings.dtype))

        def asked_for() -> Manifest:
            for _ in records:  # so that their digest is known
                pass
            return self._manifest(records.identity, records.taxonomy, condition, identity, {})

        if self.drafts.finished(asked_for):
            return self.output
        tokenizer = load_tokenizer(str(files.folder), trust_remote_code=settings.trust_remote_code)
        cached = Cached(records, condition, Encoder(tokenizer, condition))
        try:
            made = cached.made()
        except DataError as error:
            raise UntellableError(str(error)) from error
        pairs = cached.pairs()
        for line in [*made.counts["notes"], *describe_counts(made.counts)]:
            self._say(line)
        draft = self._manifest(made.data, records.taxonomy, condition, identity, made.counts)
        done = self.drafts.open(draft)
        todo = sorted((pair for pair in pairs if pair.id not in done), key=lambda pair: -_candidates(pair).tokens)
        self.state.wait_for_everyone()  # nobody writes before everybody has read what is done
        share = self.drafts.share(todo)
        remembered = self._score(share, files, tokenizer, identity) if todo else 0
        self.state.wait_for_everyone()
        shares = gather_object([len(share)])
        known = sum(gather_object([remembered]))
        if known:
            self._say(f"{known} of {len(todo)} log-probabilities were remembered, not computed again")
        if self.state.is_main_process:
            counts = {**draft.counts, "shares": shares, "remembered": known}
            update = {"counts": counts, "forward": _one_for_all(self.drafts.notes("forward"))}
            self.drafts.commit([pair.id for pair in pairs], draft.model_copy(update=update))
        self.state.wait_for_everyone()
        return self.output

    def _say(self, text: str) -> None:
        if self.state.is_main_process and not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def _condition(self, files: ModelFiles) -> Condition:
        """The condition to score under; why it is this one goes into the manifest."""
        settings = self.settings
        chosen = condition_asked_for(settings.wanted(), settings.like, files.name, settings.revision, files.folder)
        for line in chosen.words:
            self._say(line)
        self._reason = chosen.reason
        return chosen.condition

    def _manifest(
        self,
        data: DataIdentity | None,
        taxonomy: Taxonomy,
        condition: Condition,
        identity: ModelIdentity,
        counts: dict[str, Any],
    ) -> Manifest:
        return Manifest(
            kind="scores",
            data=data,
            taxonomy=taxonomy.digest,
            model=identity,
            condition=condition.model_dump(mode="json"),
            condition_reason=self._reason,
            settings=self.settings.model_dump(mode="json"),
            versions=manifest.versions("torch", "transformers", "tokenizers"),
            counts=counts,
        )

    def _score(self, share: Sequence[EncodedPair], files: ModelFiles, tokenizer: Any, identity: ModelIdentity) -> int:
        """Score this process's share; returns how many of its pairs were remembered."""
        from tqdm import tqdm

        cache = self._cache(identity)
        keys = {pair.id: pair_key(pair.prompt_ids, pair.chosen_ids, pair.rejected_ids) for pair in share}
        known = cache.read(keys.values()) if cache is not None else {}
        new = [pair for pair in share if keys[pair.id] not in known]
        silent = self._quiet or not self.state.is_main_process
        bar = tqdm(total=len(share), desc="scoring", unit=" pairs", disable=True if silent else None)
        with bar, self.drafts.part() as stream:
            for pair in share:
                if keys[pair.id] in known:
                    stream.write(_line(pair, *known[keys[pair.id]]) + "\n")
            bar.update(len(share) - len(new))
            if new:
                with cache.writing() if cache is not None else nullcontext() as remember:
                    for pair, scores in self._scored(new, files, tokenizer):
                        stream.write(_line(pair, *scores) + "\n")
                        stream.flush()
                        if remember is not None:
                            remember.add(keys[pair.id], scores)
                        bar.update()
        return len(share) - len(new)

    def _cache(self, identity: ModelIdentity) -> ScoreCache | None:
        """Where log-probabilities are remembered: of models that are nobody's policy, such as a reference.

        Who says how to compute wants it computed.
        """
        settings = self.settings
        by_default = settings.attention == "auto" and settings.shared_prefix and settings.batch_tokens is None
        if identity.trained_from is not None or not by_default:
            return None
        return ScoreCache(settings.reference_cache or cache_folder(), identity)

    def _scored(
        self, pairs: Sequence[EncodedPair], files: ModelFiles, tokenizer: Any
    ) -> Iterator[tuple[EncodedPair, Scores]]:
        """Each pair with the log-probabilities of both responses."""
        from alignx.models.scoring import ResponseScorer

        settings = self.settings
        model = self._load(files, choose_dtype(settings.dtype), settings.attention, settings.trust_remote_code)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        scorer = ResponseScorer(
            model,
            pad,
            self.state.device,
            shared_prefix=settings.shared_prefix,
            longest=max(pair.length for pair in pairs),
        )
        tokens = settings.batch_tokens or BATCH_TOKENS.get(self.state.device.type, 16_384)
        rest = iter(pairs)
        for batch in scorer.batches([_candidates(pair) for pair in pairs], tokens):
            both: Sequence[Any] = scorer.score(batch)
            if self._forward is None:  # what the first batch showed holds for all, and stays if this run is cut off
                self._forward = scorer.sharing.as_dict()
                self.drafts.note("forward", self._forward)
            yield from zip(islice(rest, len(batch)), both, strict=True)


def _candidates(pair: EncodedPair) -> Candidates:
    return Candidates(pair.id, pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids))


def _one_for_all(forwards: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """How all processes and starts read: one that did not share stands for all, else the largest difference."""
    said = [one for one in forwards if one is not None]
    return max(said, key=lambda one: (not one["shared_prefix"], one["largest_difference"] or 0.0), default=None)


def _line(pair: EncodedPair, chosen: float, rejected: float) -> str:
    return Score(
        id=pair.id,
        chosen=chosen,
        rejected=rejected,
        prompt_tokens=len(pair.prompt_ids),
        chosen_tokens=len(pair.chosen_ids),
        rejected_tokens=len(pair.rejected_ids),
        cluster=pair.cluster,
        target=pair.target,
        trimmed_items=pair.trimmed_items,
        trimmed_demographics=pair.trimmed_demographics,
        history_items=pair.history_items,
        profile=pair.profile,
        persona_empty=pair.persona_empty,
    ).model_dump_json()


def read_scores(path: Path) -> tuple[dict[str, Score], Manifest]:
    """The scores of a finished file by id, with its manifest.

    Raises:
        DataError: The file is missing, unfinished, changed since, or holds an id twice or a line that is no score.
    """
    if not path.is_file():
        partial = path.with_name(path.name + ".partial")
        hint = "; its run was interrupted: run the same command again to finish it" if partial.is_dir() else ""
        raise DataError(f"{path}: no such file{hint}")
    found = manifest.read(path)
    if found.kind != "scores":
        raise DataError(f"{path}: its manifest says {found.kind!r}, expected 'scores'")
    scores = read_lines(path, Score, "score line")
    if len(scores) != found.counts.get("scored"):
        raise DataError(
            f"{path}: has {len(scores)} scores, its manifest says {found.counts.get('scored')}; lines were lost or "
            "added, score again"
        )
    if not is_whole(path, found):
        raise DataError(f"{path}: was changed since it was written, its manifest says; score again")
    return scores, found
