"""What a command asks for that the ledger does not hold, and which way it moves memory: with it the answer may be `unknown`, never a guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.engines.vllm.rules import is_quantized_while_loading
from planner.engines.vllm.settings import ServeConfig
from planner.facts.model import ModelSpec
from planner.facts.not_covered import Effect, NotCovered

_FLAGS: dict[str, tuple[str, Effect]] = {
    "--speculative-config": ("weights and cache of the drafter", "adds"),
    "--spec-method": ("weights and cache of the drafter", "adds"),
    "--spec-model": ("weights and cache of the drafter", "adds"),
    "--enable-lora": ("weights of the adapters", "adds"),
    "--lora-modules": ("weights of the adapters", "adds"),
    "--kv-transfer-config": ("buffers of the transfer", "adds"),
    "--ec-transfer-config": ("buffers of the transfer", "adds"),
    "--enable-eplb": ("redundant experts", "adds"),
    "--enable-dbo": ("buffers of the second batch", "adds"),
    "--mm-encoder-tp-mode": ("whole copies of the vision tower on every GPU", "adds"),
    "--mm-ipc-gpu-memory-gb": ("the memory for images", "adds"),
    "--kv-cache-dtype-skip-layers": ("layers with a 16-bit cache", "adds"),
    "--cpu-offload-gb": ("weights kept in main memory", "lowers"),
    "--offload-group-size": ("weights kept in main memory", "lowers"),
    "--decode-context-parallel-size": ("a cache divided over ranks", "lowers"),
    "--prefill-context-parallel-size": ("a cache divided over ranks", "either"),
    "--data-parallel-size": ("replicas and how they share experts", "either"),
    "--kv-offloading-size": ("the cache kept in main memory", "either"),
    "--attention-backend": ("pages of another attention backend", "either"),
    "--block-size": ("blocks of another size", "either"),
    "--num-gpu-blocks-override": ("a number of blocks set by hand", "either"),
    "--hf-overrides": ("changes to the model's configuration", "either"),
    "--hf-config-path": ("another configuration of the model", "either"),
    "--model-class-overrides": ("another model class", "either"),
    "--quantization-config": ("another way to quantize", "either"),
    "--mamba-cache-dtype": ("states of another width", "either"),
    "--mamba-ssm-cache-dtype": ("states of another width", "either"),
    "--nnodes": ("the other machines", "either"),
}
_OFF = (None, False, "", "0", "0.0", "auto")
_AS_USUAL = {
    "--data-parallel-size": "1",
    "--decode-context-parallel-size": "1",
    "--prefill-context-parallel-size": "1",
    "--nnodes": "1",
    "--mm-encoder-tp-mode": "weights",
}


def not_covered(values: Mapping[str, str | bool], model: ModelSpec, config: ServeConfig, *, backend: str = "", block_size: int = 0) -> Iterator[NotCovered]:
    """The flags of a command that the ledger does not hold; one that asks for what is taken anyway is none."""
    usual = _AS_USUAL | {"--attention-backend": backend, "--block-size": str(block_size)}
    for flag, (what, effect) in _FLAGS.items():
        value = values.get(flag)
        if value in _OFF or value == usual.get(flag):
            continue
        if flag == "--mm-encoder-tp-mode" and (config.tensor_parallel_size == 1 or model.vision is None):
            continue
        yield NotCovered(flag=flag, what=what, effect=effect)
    if is_quantized_while_loading(config.quantization, model.quantization, config.vllm_version):
        yield NotCovered(flag=f"--quantization {config.quantization}", what="weights quantized while loading in this way", effect="either")
    if values.get("--distributed-executor-backend") == "ray":
        yield NotCovered(flag="--distributed-executor-backend ray", what="other machines of the Ray cluster", effect="either")
