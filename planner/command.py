"""`vllm serve` argv from settings, and back: an inverse pair."""

from __future__ import annotations

from planner.config import ServeConfig

_BOOLEAN = {"--enforce-eager": "enforce_eager", "--enable-expert-parallel": "enable_expert_parallel"}
_INTEGER = {
    "--tensor-parallel-size": "tensor_parallel_size",
    "--pipeline-parallel-size": "pipeline_parallel_size",
    "--max-model-len": "max_model_len",
    "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens",
    "--kv-cache-memory-bytes": "kv_cache_memory_bytes",
}
_TEXT = {"--kv-cache-dtype": "kv_cache_dtype", "--dtype": "dtype", "--quantization": "quantization"}


def serve_argv(repo: str, served_name: str, config: ServeConfig, *, host: str = "127.0.0.1", port: int = 8000, pooling: bool = False) -> tuple[str, ...]:
    """The exact command; batch and sequence limits are always there, because their defaults depend on the GPU."""
    argv = ["vllm", "serve", repo, "--served-model-name", served_name, "--host", host, "--port", str(port)]
    if pooling:
        argv += ["--runner", "pooling"]
    argv += ["--tensor-parallel-size", str(config.tensor_parallel_size)]
    if config.pipeline_parallel_size > 1:
        argv += ["--pipeline-parallel-size", str(config.pipeline_parallel_size)]
    argv += ["--max-model-len", str(config.max_model_len), "--gpu-memory-utilization", f"{config.gpu_memory_utilization:g}"]
    argv += ["--max-num-seqs", str(config.max_num_seqs), "--max-num-batched-tokens", str(config.max_num_batched_tokens)]
    if config.kv_cache_dtype != "auto":
        argv += ["--kv-cache-dtype", config.kv_cache_dtype]
    if config.kv_cache_memory_bytes is not None:
        argv += ["--kv-cache-memory-bytes", str(config.kv_cache_memory_bytes)]
    if config.dtype != "auto":
        argv += ["--dtype", config.dtype]
    if config.quantization is not None:
        argv += ["--quantization", config.quantization]
    argv += [flag for flag, name in _BOOLEAN.items() if getattr(config, name)]
    return tuple(argv)


def parse_argv(argv: tuple[str, ...]) -> ServeConfig:
    """The settings in a command that `serve_argv` made. Raises ValueError for a flag it does not know."""
    values: dict[str, object] = {}
    rest = list(argv[3:])
    while rest:
        flag = rest.pop(0)
        if flag in _BOOLEAN:
            values[_BOOLEAN[flag]] = True
        elif flag in _INTEGER:
            values[_INTEGER[flag]] = int(rest.pop(0))
        elif flag in _TEXT:
            values[_TEXT[flag]] = rest.pop(0)
        elif flag == "--gpu-memory-utilization":
            values["gpu_memory_utilization"] = float(rest.pop(0))
        elif flag in ("--served-model-name", "--host", "--port", "--runner"):
            rest.pop(0)
        else:
            raise ValueError(f"unknown flag {flag}")
    return ServeConfig(**values)  # type: ignore[arg-type]
