"""Training pairs per second against stock TRL, side by side in one process.

    python benchmarks/training.py --workload ica
    python benchmarks/training.py --workload mixed --memory --json out/training-mixed.json
    python benchmarks/training.py --workload ica-8b --device cuda --dtype bfloat16 --gradient-checkpointing \\
        --peak-tflops 790

A step is: collate, policy and reference forward, backward, AdamW (torch's fused, as transformers' trainer takes it),
gradients set to none; a step a micro-batch, no clipping. All sides share weights and optimiser. They are

- ours: ``EncodedDPOTrainer`` with each prompt once;
- head: stock ``DPOTrainer`` whose head reads response tokens only, as TRL's does on CUDA: the ratio to trust;
- stock: stock ``DPOTrainer`` as it is, which on a CPU scores every position. On CUDA it is what ``head`` is.

Stock takes the encoded rows as they are and is otherwise untouched. Losses and gradients of the first micro-batch are
compared before anything is timed. ``--memory`` measures each side in a process of its own, with the reference held and
run, and precomputed: resident memory on a CPU, under settings with which glibc gives freed memory back at once. Needs
the ``train`` extra. Nothing here has been run on a GPU.
"""

import argparse
import contextlib
import functools
import tempfile
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import needed_flops
import side_by_side
import torch
from side_by_side import Pair, Workload

from alignx.models.tiny import Size

TITLES = {
    "ours": "each prompt once",
    "head": "stock TRL, head on response tokens only",
    "stock": "stock TRL as it is",
}
REFERENCES = ("online", "precomputed")
LOSS_AGREES = {"float32": 1e-5, "bfloat16": 0.05}
"""Largest difference of a loss, relative to the larger of it and 1."""
GRADIENTS_AGREE = {"float32": 1e-4, "bfloat16": 0.1}
"""Largest norm of the difference of all gradients, relative to that of the gradients."""
Step = Callable[[Sequence[dict[str, Any]]], float]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    side_by_side.Benchmark(
        script=__file__,
        description=__doc__,
        add_arguments=add_arguments,
        measure=measure,
        peak=_peak,
        beside=_beside,
        pairs_share_memory=True,
    ).main(argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of training alone."""
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--reference", choices=REFERENCES, default="online", help="of our side")
    parser.add_argument("--peer-reference", choices=REFERENCES, default="online", help="of the others")
    parser.add_argument("--peers", nargs="+", choices=["head", "stock"], default=["head", "stock"])


def sides(options: argparse.Namespace) -> list[str]:
    """Names of the sides, ours first."""
    return ["ours", "stock"] if options.device.startswith("cuda") else ["ours", *options.peers]


def measure(workload: Workload, options: argparse.Namespace) -> dict[str, Any]:
    """Compare, then time all sides on one workload."""
    shape = side_by_side.shape_of(options, workload)
    pairs = workload.draw(shape.vocabulary)
    work = needed(shape, pairs, workload.micro_batch, options)
    with _Bench(shape, options, pairs) as bench:
        steps = {name: bench.step(name, _reference(name, options)) for name in sides(options)}
        micro_batches = side_by_side.batches(bench.rows, workload.micro_batch)
        differences = bench.agree(steps, micro_batches[0])

        def run(step: Step) -> None:
            for rows in micro_batches:
                step(rows)

        runs = {name: functools.partial(run, step) for name, step in steps.items()}
        for once in runs.values():  # every length has been seen
            once()
        seconds = side_by_side.alternate(runs, options.rounds, options.device)
        result: dict[str, Any] = {
            "title": f"training: {side_by_side.model_in_words(shape, bench.parameters, options)}\n  {workload}\n"
            f"  reference {options.reference} (peers: {options.peer_reference}), gradient checkpointing "
            f"{'on' if options.gradient_checkpointing else 'off'}; differences of loss and gradients before: "
            + ", ".join(f"{peer} {loss:.1e} and {gradient:.1e}" for peer, (loss, gradient) in differences.items()),
            "workload": workload,
            "parameters": bench.parameters,
            "differences": differences,
            "sharing": bench.sharing,
        }
        if options.rounds:
            result |= side_by_side.compared(seconds, TITLES, len(pairs), work)
            if getattr(options, "peak_tflops", None):
                side_by_side.add_throughput(result, runs, options.peak_tflops)
    return result


def needed(shape: Size, pairs: Sequence[Pair], micro_batch: int, options: argparse.Namespace) -> dict[str, float]:
    """FLOPs that each side needs for all pairs."""
    batches = side_by_side.batches(pairs, micro_batch)
    forwards = {
        "ours": needed_flops.prompt_once(shape, pairs),
        "head": needed_flops.both_halves(shape, batches),
        "stock": needed_flops.both_halves(shape, batches, every_position=not options.device.startswith("cuda")),
    }
    return {
        name: forward.training(
            online_reference=_reference(name, options) == "online", checkpointing=options.gradient_checkpointing
        )
        for name, forward in forwards.items()
    }


def _reference(side: str, options: argparse.Namespace) -> str:
    found: str = options.reference if side == "ours" else options.peer_reference
    return found


def _beside(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Ours with log-probabilities in place of the reference beside TRL that holds and runs it; then like and like."""
    alike = [(f"ours {kind}", f"{peer} {kind}") for kind in REFERENCES for peer in sides(options)[1:]]
    return [("ours precomputed", "stock online"), *alike] if "stock" in sides(options) else alike


def _peak(workload: Workload, options: argparse.Namespace) -> dict[str, int]:
    """Memory of the first micro-batch's step on the side that ``--only`` names.

    A tiny model is trained before, so that libraries count as nothing's own; a step on a few tokens gives the optimiser
    its state.
    """
    side, reference = options.only.split()
    few = Pair([1, 2, 3], [4, 5], [6, 7])
    with _Bench(side_by_side.SHAPES["0.2m"], options, [few]) as bench:
        bench.step(side, reference)(bench.rows)
        del bench
    empty = side_by_side.held(options.device)
    shape = side_by_side.shape_of(options, workload)
    pairs = workload.draw(shape.vocabulary)[: workload.micro_batch]
    with _Bench(shape, options, [*pairs, few]) as bench:
        step = bench.step(side, reference)
        bench.reference = None  # where it is precomputed, nothing holds it
        step(bench.rows[-1:])
        return {"empty": empty, **side_by_side.peak(lambda: step(bench.rows[:-1]), options.device)}


class _Bench:
    """A policy, a reference, rows and an optimiser, and the trainers over them."""

    def __init__(self, shape: Size, options: argparse.Namespace, pairs: Sequence[Pair]) -> None:
        self.options = options
        self.policy = side_by_side.random_model(shape, options, seed=0)
        self.reference: Any = side_by_side.random_model(shape, options, seed=1)
        self.parameters = sum(parameter.numel() for parameter in self.policy.parameters())
        self.optimiser = torch.optim.AdamW(self.policy.parameters(), lr=1e-6, fused=True)
        self.rows: list[dict[str, Any]] = [
            {"row": row, "prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected}
            for row, pair in enumerate(pairs)
        ]
        self.sharing: dict[str, Any] = {}
        self._ours: Any = None
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> "_Bench":
        return self

    def __exit__(self, *args: object) -> None:
        self._folder.cleanup()

    def step(self, side: str, reference: str) -> Step:
        """A whole training step of a side."""
        if reference == "precomputed" and "ref_chosen_logps" not in self.rows[0]:
            self._precompute()
        trainer = self._trainer(side, reference == "online")
        if self.options.gradient_checkpointing:
            trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
        trainer.model.train()

        def step(rows: Sequence[dict[str, Any]], *, keep_gradients: bool = False) -> float:
            batch = trainer._prepare_inputs(trainer.data_collator(rows))
            loss = trainer.compute_loss(trainer.model, batch)
            loss.backward()
            if not keep_gradients:
                self.optimiser.step()
                self.optimiser.zero_grad()
            return float(loss.detach())

        if side == "ours":
            self._ours = trainer
        return step

    def _precompute(self) -> None:
        """Put the reference's log-probabilities into the rows, by its plain forward."""
        from alignx.models.candidates import Candidates
        from alignx.models.scoring import ResponseScorer

        scorer = ResponseScorer(side_by_side.twin(self.reference), pad_id=0, shared_prefix=False)
        for row in self.rows:
            one = Candidates(str(row["row"]), row["prompt_ids"], (row["chosen_ids"], row["rejected_ids"]))
            row["ref_chosen_logps"], row["ref_rejected_logps"] = scorer.score([one])[0]

    def _trainer(self, side: str, online: bool) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about defaults of TRL's and transformers' own
            from datasets import Dataset
            from trl import DPOConfig, DPOTrainer
            from trl.trainer.dpo_trainer import DataCollatorForPreference

            from alignx.training.prompt_once import PromptOnce
            from alignx.training.trainer import EncodedDPOTrainer, RowCollator

            class Stock(DPOTrainer):
                """Stock TRL that is given token ids, and reference log-probabilities if they are precomputed."""

                def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
                    return dataset

                def _precompute_ref_logps(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
                    return dataset

            config = DPOConfig(
                output_dir=self._folder.name,
                per_device_train_batch_size=1,
                max_length=None,
                bf16=False,
                use_cpu=not self.options.device.startswith("cuda"),
                gradient_checkpointing=self.options.gradient_checkpointing,
                gradient_checkpointing_kwargs={"use_reentrant": False},
                precompute_ref_log_probs=not online,
                remove_unused_columns=False,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            arguments = {
                "model": side_by_side.twin(self.policy),
                "ref_model": side_by_side.twin(self.reference) if online else None,
                "args": config,
                "train_dataset": Dataset.from_list(self.rows),
                "processing_class": _tokenizer(),
            }
            if side != "ours":
                collator = DataCollatorForPreference(pad_token_id=0, max_length=None)
                trainer = Stock(data_collator=collator, **arguments)
                if side == "head":
                    for model in filter(None, (trainer.model, trainer.ref_model)):
                        head_on_responses(model)
                return trainer
            form = functools.partial(PromptOnce, form=self.options.attention_form)
            with patch("alignx.training.trainer.PromptOnce", form):
                ids = [str(row["row"]) for row in self.rows]
                return EncodedDPOTrainer(data_collator=RowCollator(0), record_ids=ids, shared_prefix=True, **arguments)

    def agree(self, steps: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
        """Compare the losses and gradients of our side with the others', relative to theirs.

        Raises:
            AssertionError: They disagree, or our side did not read each prompt once.
        """
        losses, gradients = {}, {}
        for name, step in steps.items():
            losses[name] = step(rows, keep_gradients=True)
            gradients[name] = [parameter.grad for parameter in self.policy.parameters()]
            self.optimiser.zero_grad()
        self.sharing = self._ours.sharing()
        assert all(found["shared_prefix"] for found in self.sharing.values()), f"prompts are read twice: {self.sharing}"
        dtype, differences = self.options.dtype, {}
        for peer in list(steps)[1:]:
            loss = abs(losses["ours"] - losses[peer]) / max(1.0, abs(losses[peer]))
            gradient = _norm([a - b for a, b in zip(gradients["ours"], gradients[peer], strict=True)]) / _norm(
                gradients[peer]
            )
            assert loss <= LOSS_AGREES[dtype], f"loss {losses['ours']} against {losses[peer]} of {peer}"
            assert gradient <= GRADIENTS_AGREE[dtype], f"gradients differ from those of {peer} by {gradient:.1e}"
            differences[peer] = (loss, gradient)
        return differences


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return float(torch.stack([tensor.float().norm() for tensor in tensors]).norm())


def head_on_responses(model: Any) -> None:
    """Let a model with TRL's fused head score positions with a label only, in place: what TRL itself does on CUDA."""
    fused, backbone = model.forward, model.base_model
    plain = backbone.forward
    kept: list[torch.Tensor] = []

    @functools.wraps(plain)
    def states(this: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = plain(*args, **kwargs)
        if kept:
            outputs.last_hidden_state = outputs.last_hidden_state[:, :-1][kept[-1]][None]
        return outputs

    @contextlib.contextmanager
    def keeping(mask: torch.Tensor) -> Any:
        kept.append(mask)
        try:
            yield
        finally:
            kept.pop()

    @functools.wraps(fused)
    def forward(this: Any, *, labels: torch.Tensor, fused_lm_head: bool, **kwargs: Any) -> Any:
        shifted = labels[:, 1:]
        mask = shifted != -100
        with keeping(mask):
            outputs = fused(fused_lm_head=fused_lm_head, shift_labels=shifted[mask][None], **kwargs)
        for name, value in list(outputs.items()):
            if isinstance(value, torch.Tensor) and value.dim() == 2:
                outputs[name] = value.new_zeros(mask.shape).masked_scatter(mask, value[0])
        return outputs

    backbone.forward = types.MethodType(states, backbone)
    model.forward = types.MethodType(forward, model)


def _tokenizer() -> Any:
    """TRL asks for one; it has nothing to tokenise."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


if __name__ == "__main__":
    main()
