"""What the forward and backward of one micro-batch take beside weights and gradients: counted, not estimated.

The step is training's own: transformers' model, TRL's head, each prompt once, gradient checkpointing, autocast. torch's
``MemTracker`` counts the bytes of its tensors. Under ``FakeTensorMode`` they have shapes and no contents, so that a
step of 8 billion parameters takes seconds and next to no memory.
"""

import contextlib
import copy
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakIdKeyDictionary

from alignx.models.prefix_packing import Asked, Packed, pack
from alignx.models.shared_prefix import SharedPrefix, inputs_of, obstacle

Kernels = Literal["cpu", "gpu"]
_FEW, _MORE = 2, 3
"""Layers that are counted when the others are like them; a first layer may have no gradient of its input."""
_OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")
"""What TRL's DPO trainer asks of its head."""
_IGNORED = -100


@dataclass(frozen=True)
class Step:
    """A micro-batch, and how its loss and gradients are computed."""

    pairs: int
    prompt: int
    """Tokens."""
    response: int
    """Tokens of each of the two."""
    shared_prefix: bool = True
    checkpointing: bool = True
    dtype: str = "bfloat16"
    """Of the weights."""
    autocast: str | None = None
    """What is computed in, where that is another."""
    lora: Any = None
    """PEFT's configuration of the adapters, if only these are trained."""
    attention: str = "auto"
    """Of transformers. FlashAttention cannot run here; torch's own, without a mask, keeps the same tensors."""
    kernels: Kernels = "gpu"
    """Whose kernels to count for: a GPU folds the head's tiles in place and has them for response tokens alone, but
    repeats key heads that query heads share. A real step on a CPU is ``cpu``."""


@dataclass(frozen=True)
class Shape:
    """What of a model is known without its weights."""

    parameters: int
    trained: int
    largest: int
    """Parameters of the module with the most of its own."""
    alike: bool
    """Whether all layers are."""
    obstacle: str | None
    """Why the model cannot read each prompt once."""


@dataclass(frozen=True)
class Footprint:
    """Bytes, as ``MemTracker`` counts them, in a step whose gradients are there from the micro-batches before."""

    weights: int
    gradients: int
    forward: int
    """The most of anything else at a time, during the forward."""
    backward: int
    layers_forward: int
    """The same while the layers ran; what is more, the head needed."""
    layers_backward: int
    kept_forward: int
    """What there was when the head began."""
    kept_backward: int
    copies: int
    """Autocast's copies of the weights, which are among all of these but ``weights``, or are gone in the backward."""
    copies_backward: int
    tile: int
    """Of logits, at a time."""

    @property
    def peak(self) -> int:
        """The most at a time beside weights and gradients: activations, their gradients, logits, copies of weights."""
        return max(self.forward, self.backward)

    @property
    def copied(self) -> int:
        """Of the peak, what is copies of weights."""
        return self.copies if self.forward >= self.backward else self.copies_backward

    @property
    def logits(self) -> int:
        """Of the peak, what is the head's; 0 if it is while the layers run."""
        if self.peak == max(self.layers_forward, self.layers_backward):
            return 0
        kept = self.kept_forward if self.forward >= self.backward else self.kept_backward
        return self.peak - kept

    @property
    def activations(self) -> int:
        """The rest of the peak."""
        return self.peak - self.logits - self.copied


def shape_of(config: Any, longest: int, lora: Any = None) -> Shape:
    """Count a model's parameters.

    Args:
        config: Of transformers.
        longest: Tokens of the longest sequence.
        lora: As in :class:`Step`.
    """
    with FakeTensorMode(), _quiet():
        model = _plain_model(config, "bfloat16", "auto")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        largest = max(sum(one.numel() for one in module.parameters(recurse=False)) for module in model.modules())
        reason = obstacle(model, longest)
        kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
        layers = getattr(model.base_model, "layers", ())
        sizes = {sum(parameter.numel() for parameter in layer.parameters()) for layer in layers}
        trained = parameters
        if lora is not None:
            adapted = _adapted(model, lora)
            trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
            parameters += trained
    return Shape(parameters, trained, largest, len(sizes) == 1 and len(set(kinds)) <= 1, reason)


def counted(config: Any, step: Step, *, alike: bool) -> Footprint:
    """The footprint of a model of any depth.

    Every number of a :class:`Footprint` is linear in the number of equal layers, exactly: each layer keeps as much as
    the one before, and each phase has its most when all of them do. Two depths therefore say it for all, which tests
    hold against deeper models; 32 layers would take ten times as long.

    Args:
        config: Of transformers.
        step: What is counted.
        alike: Whether the layers are equal.
    """
    layers = config.get_text_config().num_hidden_layers
    if not alike or layers <= _MORE:
        return footprint(config, step)
    few, more = (footprint(with_layers(config, depth), step) for depth in (_FEW, _MORE))
    numbers = {}
    for field in fields(Footprint):
        low, high = getattr(few, field.name), getattr(more, field.name)
        numbers[field.name] = low + (high - low) * (layers - _FEW) // (_MORE - _FEW)
    return Footprint(**numbers)


def with_layers(config: Any, layers: int) -> Any:
    """The same model, less deep."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    text.num_hidden_layers = layers
    if kinds:
        text.layer_types = kinds[:layers]
    return config


def footprint(config: Any, step: Step, *, real: bool = False) -> Footprint:
    """Count the bytes of a step.

    Args:
        config: Of transformers; it says the model's shape.
        step: What is counted.
        real: Whether with real tensors, on the CPU: to compare with.
    """
    fake = None if real else FakeTensorMode()
    packed = pack([_pair(step, config.get_text_config().vocab_size)] * step.pairs)
    with fake or contextlib.nullcontext(), _quiet(), _kernels(step.kernels):
        whole, model = _model(config, step)
        call = _packed_call(model, packed, fake) if step.shared_prefix else _padded_call(model, step, real)
        for parameter in whole.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        weights = sum(_bytes(parameter) for parameter in whole.parameters())
        gradients = sum(_bytes(parameter) for parameter in whole.parameters() if parameter.requires_grad)
        tracker = _Tracker(model, model.base_model)
        for parameter in whole.parameters():
            if not parameter.requires_grad:  # the tracker would hook it for its gradient, which torch refuses
                tracker._param_to_grad_hook_handles[parameter] = (_no_hook(), _no_hook())
        tracker.track_external(whole, *(value for value in call.values() if isinstance(value, Tensor)))
        autocast = torch.autocast("cpu", getattr(torch, step.autocast or step.dtype), enabled=step.autocast is not None)
        with tracker:
            with autocast:
                outputs = model(fused_lm_head=True, use_cache=False, **call)
            outputs.log_probs.sum().backward()
        return _read(tracker, model, step, weights, gradients)


class _Tracker(MemTracker):
    """torch's tracker, which notes the most of each module at every operation, noting it of a few modules."""

    def __init__(self, *watched: Any) -> None:
        super().__init__()
        self._watched = watched

    def _update_peak_stats(self, peak_state: Any) -> None:
        every = self.memory_tracking
        self.memory_tracking = WeakIdKeyDictionary({one: every[one] for one in self._watched if one in every})
        super()._update_peak_stats(peak_state)
        self.memory_tracking = every


def _no_hook() -> RemovableHandle:
    return RemovableHandle(OrderedDict())


def _plain_model(config: Any, dtype: str, attention: str) -> Any:
    from transformers import AutoModelForCausalLM

    implementation = "eager" if attention == "eager" else "sdpa"
    return AutoModelForCausalLM.from_config(
        copy.deepcopy(config), dtype=getattr(torch, dtype), attn_implementation=implementation
    )


def _model(config: Any, step: Step) -> tuple[Any, Any]:
    """The model as TRL's trainer has it; whole, and without an adapter's wrapper around it."""
    from trl.trainer.utils import add_fused_lm_head

    whole = model = _plain_model(config, step.dtype, step.attention)
    if step.lora is not None:
        whole = _adapted(model, step.lora)
        if step.checkpointing:
            whole.enable_input_require_grads()
    add_fused_lm_head(model, outputs=_OUTPUTS)
    if step.checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    whole.train()
    return whole, model


def _adapted(model: Any, lora: Any) -> Any:
    """The model with adapters."""
    from peft import get_peft_model

    lora = copy.deepcopy(lora)  # PEFT writes into it
    if not isinstance(next(model.parameters()), FakeTensor):
        return get_peft_model(model, lora)
    # PEFT moves adapters to where the base is, and back to float32. Fake parameters cannot be moved, and are there.
    with patch.object(torch.nn.Module, "to", lambda module, *args, **kwargs: module):
        return get_peft_model(model, lora)


def _packed_call(model: Any, packed: Packed, fake: FakeTensorMode | None) -> dict[str, Any]:
    """Arguments with each prompt once, as :mod:`alignx.training.prompt_once` gives them."""
    SharedPrefix(model)
    if fake is not None:
        named = ("input_ids", "position_ids", "scored", "targets", "rows", "columns")
        faked: dict[str, Any] = {name: fake.from_tensor(getattr(packed, name)) for name in named}
        packed = replace(packed, **faked)
    return {**inputs_of(packed), "shift_labels": packed.targets[None]}


def _pair(step: Step, vocabulary: int) -> list[Asked]:
    """Two sequences of any tokens that have the prompt in common, and nothing after it."""
    mask = np.arange(step.prompt + step.response) >= step.prompt
    sequences = []
    for first in (1, 2):
        tokens = np.arange(step.prompt + step.response) % vocabulary
        tokens[step.prompt] = first
        sequences.append(Asked(tokens, mask))
    return sequences


def _padded_call(model: Any, step: Step, real: bool) -> dict[str, Any]:
    """Arguments with each prompt twice, as TRL gives them: chosen rows, then rejected rows, one token shorter."""
    rows, length = 2 * step.pairs, step.prompt + step.response
    asked = torch.full((rows, step.response), 1)
    call: dict[str, Any] = {"input_ids": torch.ones((rows, length), dtype=torch.long)}
    if step.kernels == "gpu":  # the head is for response tokens alone
        model.base_model.register_forward_hook(_leave_only(slice(step.prompt - 1, length - 1)))
        call["shift_labels"] = asked
    else:
        call["labels"] = torch.cat([torch.full((rows, step.prompt), _IGNORED), asked], dim=1)
    if step.attention == "flash_attention_2":
        _without_mask(model)
        return call
    if real:
        kept = torch.ones((rows, length), dtype=torch.long)
        kept[step.pairs :, -1] = 0
        return {**call, "attention_mask": kept}
    # What transformers makes of the mask depends on its contents, which a fake one does not have; so it is made here.
    dtype = getattr(torch, step.dtype) if step.attention == "eager" else torch.bool
    return {**call, "attention_mask": torch.ones((rows, 1, length, length), dtype=dtype)}


def _without_mask(model: Any) -> None:
    """Let a model attend by torch's attention with no mask, as it would by FlashAttention."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    name = "alignx_without_mask"
    AttentionInterface.register(name, sdpa_attention_forward)
    AttentionMaskInterface.register(name, lambda *args, **kwargs: None)
    model.set_attn_implementation(name)


def _leave_only(kept: slice) -> Any:
    def trim(module: Any, args: Any, outputs: Any) -> Any:
        outputs.last_hidden_state = outputs.last_hidden_state[:, kept]
        return outputs

    return trim


@contextlib.contextmanager
def _kernels(kernels: Kernels) -> Iterator[None]:
    """Let a step on the CPU keep what it would on a GPU."""
    if kernels == "cpu":
        yield
        return

    def in_place(*args: Any, **kwargs: Any) -> None:
        """Triton's kernels and cuBLAS write where they read; their stand-ins for a CPU make copies in float32."""

    with (
        patch.multiple(
            "trl.kernels.chunked_logprob", _forward_tile=in_place, _backward_tile=in_place, _addmm_fp32=in_place
        ),
        patch("alignx.models.prefix_attention.scaled_dot_product_attention", _with_repeated_heads),
    ):
        yield


def _with_repeated_heads(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """Attention in which no head is shared: no fast kernel of a GPU takes both a mask and fewer key heads."""
    if options.pop("enable_gqa", False):
        times = query.shape[1] // key.shape[1]
        key, value = (heads.repeat_interleave(times, dim=1) for heads in (key, value))
    return scaled_dot_product_attention(query, key, value, **options)


def _read(tracker: MemTracker, model: Any, step: Step, weights: int, gradients: int) -> Footprint:
    """What a tracker has counted."""
    whole, layers = _states(tracker, model), _states(tracker, model.base_model)

    def beside(total: int) -> int:
        return total - weights - gradients

    copies, copies_backward = _copies(model, step)
    return Footprint(
        weights=weights,
        gradients=gradients,
        forward=beside(whole["Peak-Forward"]),
        backward=beside(whole["Peak-Backward"]),
        layers_forward=beside(layers["Peak-Forward"]),
        layers_backward=beside(layers["Peak-Backward"]),
        kept_forward=beside(layers["Post-Forward"]),
        kept_backward=beside(whole["Pre-Backward"]),
        copies=copies,
        copies_backward=copies_backward,
        tile=_tile(step),
    )


def _states(tracker: MemTracker, module: Any) -> dict[str, int]:
    """Bytes of all tensors in each state of a module that ``MemTracker`` knows, by the state's name."""
    snapshots = tracker.memory_tracking[module].snapshots
    return {state.value: next(iter(taken[-1].values()))["Total"] for state, taken in snapshots.items()}


def _copies(model: Any, step: Step) -> tuple[int, int]:
    """Bytes of autocast's copies of the layers' weights at the end of the forward, and in the backward.

    Those of trained weights stay until the forward ends; all are kept for the backward unless the layers run again.
    """
    if step.autocast is None:
        return 0, 0
    computed = getattr(torch, step.autocast)
    trained = frozen = 0
    for module in model.base_model.modules():
        if isinstance(module, torch.nn.Linear) and module.weight.dtype != computed:
            size = module.weight.numel() * computed.itemsize
            trained, frozen = (trained + size, frozen) if module.weight.requires_grad else (trained, frozen + size)
    return (trained, 0) if step.checkpointing else (trained + frozen, trained + frozen)


def _tile(step: Step) -> int:
    """Bytes of logits that TRL's head has at a time."""
    from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE

    asked = 2 * step.pairs * step.response
    if not step.shared_prefix and step.kernels == "cpu":
        asked = 2 * step.pairs * (step.prompt + step.response - 1)
    width: int = getattr(torch, step.autocast or step.dtype).itemsize
    return min(asked, int(TOKEN_CHUNK_SIZE)) * int(_CHUNKED_LOGPROB_CHUNK_SIZE) * width


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of libraries about what is meant so; torch's tracker also changes how they are printed."""
    written = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            warnings.formatwarning = written
