"""What a GPU holds in a training run, in one way of running it or another.

Weights, gradients and optimiser states under ZeRO are DeepSpeed's own estimates, without it what training keeps;
activations and logits are counted in a step of the real shape (:mod:`alignx.training.footprint`).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from alignx.training.configuring import lora_config
from alignx.training.plan_settings import PlanSettings

if TYPE_CHECKING:
    from alignx.training.footprint import Footprint, Shape

_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""


@dataclass(frozen=True)
class Way:
    """What may be changed so that a run fits, without changing what it computes (adapters aside)."""

    checkpointing: bool
    micro_batch: int
    zero: int
    offload: bool
    lora_rank: int | None
    gpus: int
    nodes: int

    @property
    def processes(self) -> int:
        """GPUs of all machines."""
        return self.gpus * self.nodes


@dataclass(frozen=True)
class Memory:
    """Bytes of a GPU at the moment of the most, by what they hold."""

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    buffers: int
    """DeepSpeed's, or DDP's copy of the gradients."""
    host: int
    """Bytes of a machine beside its GPUs."""
    tile: int = 0
    """Of logits, whenever there are some."""

    @property
    def total(self) -> int:
        """On the GPU."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.logits + self.buffers


class Needs:
    """What a run needs of a GPU in one way or another; what was counted once is not counted again."""

    def __init__(self, settings: PlanSettings, config: Any, dtype: str) -> None:
        """Take a run.

        Args:
            settings: Of the run.
            config: Of its model.
            dtype: To compute in.
        """
        self.settings = settings
        self.dtype = dtype
        self.width = _WIDTH[dtype]
        self._config = config
        self._shapes: dict[int | None, Shape] = {}
        self._counted: dict[tuple[Any, ...], Footprint] = {}
        self.prompt = settings.prompt_tokens or settings.longest - settings.response_tokens
        self.response = settings.response_tokens

    def shape(self, lora_rank: int | None) -> "Shape":
        """Parameters, with adapters of a rank."""
        from alignx.training.footprint import shape_of

        if lora_rank not in self._shapes:
            self._shapes[lora_rank] = shape_of(self._config, self.prompt + self.response, self._lora(lora_rank))
        return self._shapes[lora_rank]

    def _lora(self, rank: int | None) -> Any:
        changed = {"lora_rank": rank}
        return lora_config(self.settings.model_copy(update=changed)) if rank is not None else None

    @property
    def positions(self) -> int | None:
        """Tokens that the model was made to read at once, where its configuration says so."""
        found: int | None = getattr(self._config.get_text_config(), "max_position_embeddings", None)
        return found

    def online(self) -> "Needs":
        """The same run with the reference in memory while training."""
        return Needs(self.settings.model_copy(update={"reference": "online"}), self._config, self.dtype)

    @property
    def read_once(self) -> bool:
        """Whether each prompt is read once for both responses."""
        return self.settings.shared_prefix and self.shape(None).obstacle is None

    @property
    def pair(self) -> int:
        """Tokens that are read for a pair of the lengths planned for; a response's last one predicts nothing."""
        if self.read_once:
            return self.prompt + 2 * (self.response - 1)
        return 2 * (self.prompt + self.response)

    def footprint(self, way: Way) -> "Footprint":
        """What a micro-batch takes beside weights and gradients."""
        from alignx.training.footprint import Step, counted

        key = (way.micro_batch, way.checkpointing, way.lora_rank, bool(way.zero))
        if key not in self._counted:
            # DeepSpeed's engine computes in the weights' own precision; without it accelerate's autocast does.
            autocast = None if way.zero or self.dtype == "float32" else self.dtype
            step = Step(
                pairs=way.micro_batch,
                prompt=self.prompt,
                response=self.response,
                shared_prefix=self.read_once,
                checkpointing=way.checkpointing,
                dtype="float32" if self._master(way) else self.dtype,
                autocast=autocast,
                lora=self._lora(way.lora_rank),
                attention=self.settings.attention,
            )
            self._counted[key] = counted(self._config, step, alike=self.shape(None).alike)
        return self._counted[key]

    def _master(self, way: Way) -> bool:
        """Whether weights are kept in float32 and computed with in another precision."""
        return self.settings.master_weights and not way.zero and way.lora_rank is None

    def memory(self, way: Way) -> Memory:
        """All of it."""
        found, states = self.footprint(way), self.states(way)
        return replace(
            states,
            weights=states.weights + found.copied,
            activations=found.activations,
            logits=found.logits,
            tile=found.tile,
        )

    def states(self, way: Way) -> Memory:
        """Weights, gradients, optimiser and buffers."""
        states = {0: self._without_zero, 2: self._zero2, 3: self._zero3}[way.zero](way)
        if self.settings.reference == "online" and way.lora_rank is None:
            parameters = self.shape(None).parameters
            width = 4 if self._master(way) else self.width
            shared = way.processes if way.zero == 3 else 1
            states = replace(states, weights=states.weights + width * parameters // shared)
        return states

    def _without_zero(self, way: Way) -> Memory:
        """As our trainer has it: weights, gradients and both of Adam's moments in one precision, on every GPU.

        Adapters are in float32 on a base in the precision computed in.
        """
        shape = self.shape(way.lora_rank)
        width = 4 if self._master(way) or way.lora_rank is not None else self.width
        frozen = shape.parameters - shape.trained
        gradients = width * shape.trained
        return Memory(
            weights=self.width * frozen + width * shape.trained,
            gradients=gradients,
            optimiser=2 * gradients,
            activations=0,
            logits=0,
            buffers=gradients if way.processes > 1 else 0,  # DDP reduces copies of them
            host=0,
        )

    def _zero2(self, way: Way) -> Memory:
        """DeepSpeed's estimate: 2 bytes a parameter for weights on every GPU, and 18 shared among the GPUs.

        The 18 are gradients in 16 and 32 bits (6), the weights in 32 bits (4) and Adam's moments (8).
        """
        from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

        shape = self.shape(way.lora_rank)
        host, gpu = estimate_zero2_model_states_mem_needs(
            shape.trained, num_gpus_per_node=way.gpus, num_nodes=way.nodes, cpu_offload=way.offload
        )
        shared = 0 if way.offload else shape.trained
        gradients, optimiser = 6 * shared // way.processes, 8 * shared // way.processes
        return Memory(
            weights=gpu - gradients - optimiser + 2 * (shape.parameters - shape.trained),
            gradients=gradients,
            optimiser=optimiser,
            activations=0,
            logits=0,
            buffers=_buffers(2, shape),
            host=host,
        )

    def _zero3(self, way: Way) -> Memory:
        """DeepSpeed's estimate: 18 bytes a parameter shared among the GPUs, and 4 a parameter of the largest layer.

        The 18 are weights in 16 and 32 bits (6), gradients (4) and Adam's moments (8); the 4 are the weights and
        gradients of a layer while it is whole. Frozen weights are 2 bytes a parameter, shared.
        """
        from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs

        shape = self.shape(way.lora_rank)
        host, gpu, _ = estimate_zero3_model_states_mem_needs(
            shape.trained,
            shape.largest,
            num_gpus_per_node=way.gpus,
            num_nodes=way.nodes,
            cpu_offload=way.offload,
            cpu_offload_params=way.offload,
        )
        shared = 0 if way.offload else shape.trained
        gradients = 4 * shared // way.processes + 2 * shape.largest
        optimiser = 8 * shared // way.processes
        frozen = 2 * (shape.parameters - shape.trained)
        return Memory(
            weights=gpu - gradients - optimiser + (0 if way.offload else frozen // way.processes),
            gradients=gradients,
            optimiser=optimiser,
            activations=0,
            logits=0,
            buffers=_buffers(3, shape),
            host=host + (frozen // way.nodes if way.offload else 0),
        )

    def reference_weights(self) -> int:
        """Bytes of the reference's weights on each GPU while its log-probabilities are computed before training."""
        return self.width * self.shape(None).parameters if self.settings.reference == "precomputed" else 0


def _buffers(stage: int, shape: "Shape") -> int:
    """What DeepSpeed's estimates leave out: its bucket of gradients, and layers that it fetches ahead."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    defaults = DeepSpeedZeroConfig(stage=stage)
    bucket = 2 * min(defaults.reduce_bucket_size, shape.trained)
    ahead = min(defaults.max_live_parameters, shape.parameters) - shape.largest if stage == 3 else 0
    return int(bucket + 2 * max(0, ahead))
