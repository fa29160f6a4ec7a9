"""Texts that look like the control tokens of some model family."""

from collections import Counter
from collections.abc import Iterable

from alignx.prompts.reporting.health.finding import Commands, Finding, Listing, Tally

WELL_KNOWN = (
    # Llama 3 and 4
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
    *("<|python_tag|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_", "<|header_start|>", "<|eot|>"),
    # Llama 2, Mistral
    *("<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]"),
    # ChatML, Qwen, GPT
    *("<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>"),
    *("<|channel|>", "<|message|>", "<|start|>", "<|return|>"),
    # Gemma, T5, BERT
    *("<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
    # Phi, Zephyr, Command R, DeepSeek
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
)
"""Control tokens as they are written; the reserved ones by what they begin with."""


class ControlTokens:
    """Counts of texts with a look-alike, by field and by token."""

    def __init__(self, of_model: Iterable[str] = ()) -> None:
        """Start with none.

        Args:
            of_model: Control tokens of the model that the records are for, besides the well-known ones.
        """
        self.tokens = tuple(dict.fromkeys((*WELL_KNOWN, *of_model)))
        self._firsts = tuple(sorted({token[0] for token in self.tokens}))
        self._tally = Tally()
        self._texts = 0
        self._fields: Counter[tuple[str, str]] = Counter()

    def add(self, record_id: str, texts: Iterable[tuple[str, str]], everything: str) -> None:
        """Look at a record's texts, by field; ``everything`` holds them all."""
        if not any(first in everything for first in self._firsts):
            return
        there = [token for token in self.tokens if token in everything]
        if not there:
            return
        named = ""
        for field, text in texts:
            found = [token for token in there if token in text]
            self._texts += bool(found)
            for token in found:
                self._fields[field, token] += 1
                named = named or f"{token} in {field}"
        if named:
            self._tally.add(record_id, named)

    def finding(self, records: int, commands: Commands) -> Finding:
        """What was found in so many records."""
        rows = [(field, token, str(n)) for (field, token), n in sorted(self._fields.items(), key=_from_most)]
        return Finding(
            "control_token_look_alikes",
            "Texts that look like control tokens",
            self._tally.n,
            records,
            "records",
            "look" if self._tally.n else "ok",
            "A user who writes `<|eot_id|>` must not end a turn. This project's encoder keeps every such text as "
            "ordinary text, whatever the model, so that they are harmless in its prompts, in training as in "
            "evaluation. Other tools, given these records, may turn them into control tokens.",
            [f"alignx data preview {commands.source} --model MODEL --method ica --row N"] if self._tally.n else [],
            self._tally.examples,
            [Listing(("field", "token", "texts"), rows, "Texts with each.", "llr", "By field and token")]
            if rows
            else [],
            {"texts": self._texts, "by_field": {f"{field}: {token}": n for (field, token), n in self._fields.items()}},
        )


def _from_most(item: tuple[tuple[str, str], int]) -> tuple[int, tuple[str, str]]:
    return -item[1], item[0]
