"""Settings of ``alignx plan``: those of the run, and of the machine to run it on. Importing this loads no torch."""

from pathlib import Path

from pydantic import model_validator

from alignx.settings import setting
from alignx.training.settings import TrainSettings


class PlanSettings(TrainSettings):
    """Say what a training run needs before anything is downloaded: steps, memory, time, disk; refuse what cannot fit.

    alignx plan --config configs/train/ica.yaml --gpus 8 --gpu-memory 80

    It takes the same settings file and flags as training. Without --gpus and --gpu-memory it goes by this machine's.
    """

    gpus: int | None = setting(None, "GPUs of a machine; by default this machine's.", gt=0)
    gpu_memory: float | None = setting(None, "Memory of a GPU, in GB of 10⁹ bytes; by default this machine's.", gt=0)
    nodes: int = setting(1, "Machines.", gt=0)
    cpu_memory: float | None = setting(
        None, "Memory of a machine beside its GPUs, in GB; without it, what offloading puts there is not checked.", gt=0
    )
    headroom: float = setting(
        0.05,
        "Share of a GPU's memory kept free for what is not counted: CUDA's context, NCCL, fragmentation.",
        ge=0,
        lt=1,
    )
    zero: int | None = setting(
        None,
        "DeepSpeed's ZeRO stage, 2 or 3; 0 is no DeepSpeed. By default as the scripts start: 3, on one GPU 0.",
        ge=0,
        le=3,
    )
    offload: bool = setting(False, "ZeRO with the optimiser, and in stage 3 the weights too, in the machine's memory.")
    rows: int | None = setting(
        None,
        "Records of the data, before --subset and --eval-rows; by default they are counted, if they are here.",
        gt=0,
    )
    prompt_tokens: int | None = setting(
        None, "Tokens of a prompt, for memory; by default the longest that --max-length allows.", gt=0
    )
    response_tokens: int = setting(
        512, "Tokens of each response, for memory.", gt=1, source="paper C.2: the longest it generates"
    )
    mean_tokens: float | None = setting(
        None, "Mean tokens that are read for a pair, for time; by default a pair of the lengths above.", gt=0
    )
    tokens_per_second: float | None = setting(
        None, "Tokens that a GPU reads in a second of training, as measured; without it no time is said.", gt=0
    )
    json_file: Path | None = setting(None, "File to write the plan's numbers to, beside what is printed.")

    @model_validator(mode="after")
    def _a_stage_that_is_known(self) -> "PlanSettings":
        if self.zero == 1:
            raise ValueError("--zero 1 has no configuration here, expected 0, 2 or 3")
        if self.offload and self.zero == 0:
            raise ValueError("--offload is DeepSpeed's: it needs --zero 2 or 3")
        return self

    @model_validator(mode="after")
    def _lengths_fit(self) -> "PlanSettings":
        if self.prompt_tokens is not None:
            longest = self.prompt_tokens + self.response_tokens
        else:
            longest = self.response_tokens + 1
        if longest > self.longest:
            raise ValueError(
                f"--prompt-tokens and --response-tokens are {longest} tokens together, expected at most --max-length "
                f"{self.longest}"
            )
        return self

    @property
    def longest(self) -> int:
        """Tokens that a prompt and its longer response may have together."""
        from alignx.prompts.condition import MAX_LENGTH

        return self.max_length or MAX_LENGTH
