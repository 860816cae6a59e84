"""Commands as people and scripts write them, right and wrong, a kind each: both vLLM's parser and ours read them (tests/engines/vllm/test_flags.py)."""

import random
import shlex
from collections.abc import Iterator
from typing import Any

M = "Qwen/Qwen3-8B"
KINDS = [
    *(f"{M} {rest}" for rest in (
        # unique and ambiguous prefixes
        "--max-model 8192", "--max-model-le 8192", "--gpu-memory-util 0.9", "--tensor-parallel 2", "--max 1", "--enable 1", "--enforce", "--no-enforce",
        "--enable-prefix", "--no-enable-prefix", "--disable-prefix", "--compilation {}", "--quant awq", "--port=1 --hos=x", "--max-model=8192", "--max_model 1", "--trust",
        "--speculative {}", "--spec {}", "--api-k a", "--hf-t x", "--hf 1", "--served x", "--load dummy", "--kv-cache-d fp8", "--kv-cache-m 8G",
        # switches
        "--no-enable-prefix-caching", "--no-disable-log-stats", "--disable-log-stats", "--disable-log-requests", "--no-enable-log-requests", "--disable-prefix-caching",
        "--enforce-eager=false", "--enforce-eager=true", "--enforce-eager false", "--enforce-eager True", "--enable-prefix-caching=maybe", "--no-no-enforce-eager",
        "--disable-enforce-eager", "--no-disable-uvicorn-access-log", "--enable-uvicorn-access-log", "--headless=1", "--no-headless", "--enable-lora --disable-lora", "--no-trust-remote-code",
        "--disable-trust-remote-code", "--enable-chunked-prefill --no-enable-chunked-prefill", "--disable_log_stats", "--no_enable_prefix_caching",
        # short flags
        "-tp 2", "-tp2", "-tp=2", "-pp 2 -dp 2", "-O3", "-O 3", "-O=3", "-O", "-O 4", "-O3 -O2", "-Odecode", "-q awq", "-qawq", "-q=awq", "-cc '{}'", "-cc.mode 3", "-cc.mode=3", "-cc 3", "-ep",
        "-asc 2", "-asc2", "-x", "-t 2", "-sc '{}'", "-ac.backend FLASH_ATTN", "-dcp 2",
        # numbers
        "--max-model-len 32K", "--max-model-len 32k", "--max-model-len 1.5k", "--max-model-len 1.5K", "--max-model-len auto", "--max-model-len AUTO", "--max-model-len -1", "--max-model-len=-1",
        "--max-model-len x", "--max-model-len 1_000", "--max-model-len ' 8192 '", "--max-model-len 8192.0", "--max-model-len ''", "--max-num-seqs 2k", "--max-num-seqs 2.0", "--max-num-seqs -5",
        "--max-num-batched-tokens 2k", "--max-num-batched-tokens auto", "--kv-cache-memory-bytes 2.5g", "--kv-cache-memory-bytes 2G", "--kv-cache-memory-bytes None", "--seed x", "--seed 0x10", "--seed -1", "--max-logprobs x",
        "--max-logprobs -1", "--gpu-memory-utilization x", "--gpu-memory-utilization 0.9.1", "--gpu-memory-utilization -0.5", "--gpu-memory-utilization=-0.5", "--gpu-memory-utilization nan", "--gpu-memory-utilization .9",
        "--port x", "--port 8000.5", "--port=", "--api-server-count x", "--cpu-offload-gb x", "--cpu-offload-gb 10", "--swap-space 4", "--block-size 16", "--block-size x", "--stream-interval 1e3",
        "--tensor-parallel-size two", "--tensor-parallel-size 2k", "--data-parallel-size 2", "--max-log-len None", "--max-log-len ''",
        # choices
        "--dtype half16", "--dtype half", "--dtype Float16", "--dtype=bfloat16", "--runner foo", "--runner pooling", "--convert embed", "--convert x", "--uvicorn-log-level loud", "--uvicorn-log-level debug",
        "--tokenizer-mode anything", "--load-format anything", "--scheduling-policy lifo", "--moe-backend FlashInfer-Cutlass", "--moe-backend nothing", "--kv-cache-dtype int9", "--quantization nothing", "--quantization None",
        "--mm-encoder-tp-mode data", "--mm-encoder-tp-mode date", "--distributed-executor-backend mp", "--distributed-executor-backend none", "--chat-template-content-format openai", "--chat-template-content-format open",
        "--log-level DEBUG", "--log-level debug", "--performance-mode x", "--collect-detailed-traces all model", "--collect-detailed-traces every", "--tool-strict-level None", "--tool-strict-level auto",
        # JSON
        "--limit-mm-per-prompt x", "--limit-mm-per-prompt '{\"image\": 2}'", "--limit-mm-per-prompt image=2", "--limit-mm-per-prompt.image 2", "--speculative-config x", "--speculative-config '{}'", "--speculative-config None",
        "--speculative-config '[1]'", "--speculative-config.method mtp --speculative-config.num_speculative_tokens 1", "--hf-overrides '{\"a\": 1}'", "--hf-overrides x", "--hf-overrides '{x}'", "--compilation-config x",
        "--compilation-config 3", "--compilation-config '{\"mode\": 3}'", "--compilation-config '{\"level\": 3}'", "--compilation-config.level 3", "--compilation-config.cudagraph_mode NONE", "--compilation-config.mode x",
        "--compilation-config.pass_config.fuse_norm_quant true", "--compilation_config.mode 0", "--compilation-config.cudagraph_capture_sizes '[1,2]'", "--compilation-config.cudagraph_capture_sizes+ 1 --compilation-config.cudagraph_capture_sizes+=2,4",
        "--compilation-config '{\"cudagraph_mm_encoder\": \"maybe\"}'", "--compilation-config '{\"cudagraph_mm_encoder\": \"yes\"}'", "--compilation-config '{\"max_cudagraph_capture_size\": \"x\"}'",
        "--compilation-config.mode", "--compilation-config '{\"max_cudagraph_capture_size\": 1k}'", "--kv-transfer-config '{\"kv_connector\": \"x\", \"kv_role\": \"kv_both\"}'", "--kv-transfer-config '{\"kv_role\": \"x\"}'",
        "--kv-transfer-config '{\"connector\": \"x\"}'", "--kv-transfer-config {", "--additional-config '{\"a\": 1}'", "--additional-config x", "--structured-outputs-config.backend xgrammar", "--structured-outputs-config.backend x",
        "--allowed-origins '[\"*\"]'", "--allowed-origins *", "--default-chat-template-kwargs '{\"enable_thinking\": true}'", "--default-chat-template-kwargs enable_thinking=true", "--profiler-config '{}'",
        "--attention-config '{\"flash_attn_version\": 3}'", "--attention-config '{\"flash_attn_version\": 5}'", "--eplb-config '{\"window_size\": 100}'", "--eplb-config '{\"window_size\": 1.5}'", "--pooler-config '{}'", "--media-io-kwargs x",
        "--quantization-config '{\"linear\": null}'", "--kernel-config.enable_flashinfer_autotune=False", "--logging-config '{}'", "--port.x 1", "--nothing.x 1", "--nothing.x",
        # words that belong to nothing, lists
        "extra", "extra --port 1", "--port 1 extra", "-- extra", "--", "--port 1 -- extra", "--served-model-name a b c", "--served-model-name a --port 1", "--served-model-name", "--api-key a b", "--api-key", "--middleware a --middleware b",
        "--middleware a b", "--lora-modules a=b", "--lora-modules a=b c=d", "--lora-modules x", "--lora-modules '{\"name\": \"a\", \"path\": \"b\"}'", "--lora-modules '{\"name\": \"a\"}'", "--lora-modules '{\"name\": \"a\", \"path\": \"b\", \"x\": 1}'",
        "--cudagraph-capture-sizes 1 2 4", "--cudagraph-capture-sizes 1 x", "--cudagraph-capture-sizes 1,2", "--hf-token", "--hf-token abc", "--hf-token abc def", "--allowed-media-domains a b", "--device-ids 0,1", "--model other",
        "--model=other", "--model", "--port", "--port --host x", "--host --port 1", "--host -", "--host -1", "--max-modle-len 1", "--task embed", "--rope-scaling '{}'", "--nothing", "--nothing 1", "--nothing=1", "-1", "--1", "''", "' '", "--config nosuch.yaml",
        "--config", "--config=nosuch.yaml", "--config nosuch.txt", "--chat-template /nosuch", "--chat-template '{{ x }}'", "--chat-template template_chatml.jinja",
        # what is refused together
        "--enable-auto-tool-choice", "--enable-auto-tool-choice --tool-call-parser hermes", "--enable-log-outputs", "--enable-log-outputs --enable-log-requests", "--sse-keep-alive-interval -1", "--sse-keep-alive-interval=-1",
        "--enable-per-request-metrics --disable-log-stats", "--enable-per-request-metrics", "--grpc --grpc-port 1",
    )),
    *("", "--port 8000", f"--port 8000 {M}", f"--enforce-eager {M}", f"--model {M}", f"--model={M} --port 1", f"--port 1 --model {M} extra", f"--served-model-name a {M}", f"--served-model-name a --port 1 {M}", "--model", f"{M} {M}", f"-tp 2 {M} -pp 1",
      f"--enforce-eager {M} --port 1", f"--enable-prefix-caching -tp 2 {M} extra"),
]  # fmt: skip


def kinds() -> list[list[str]]:
    """The words after `vllm serve` of every kind."""
    return [shlex.split(command) for command in KINDS]


def mutations(flags: dict[str, Any], seed: int, count: int) -> Iterator[list[str]]:
    """Commands of random flags with random values, some right, many wrong."""
    rng = random.Random(seed)
    names = sorted(flags)
    values = (
        "1",
        "0",
        "-1",
        "2k",
        "2K",
        "0.5",
        "x",
        "",
        "None",
        "auto",
        "true",
        "false",
        "{}",
        '{"a": 1}',
        "[1]",
        "a b",
        "none",
        "a=b",
        "1,2",
        "1e3",
        "--port",
        "-",
        "NaN",
    )
    for _ in range(count):
        words = [M] if rng.random() < 0.95 else []
        for _ in range(rng.choice((1, 1, 2, 3))):
            name = rng.choice(names)
            entry = flags[name]
            spelled = rng.choice([name, name, *entry.get("also", ())])
            kind = rng.random()
            if kind < 0.2:
                spelled = spelled[: rng.randrange(3, len(spelled) + 1)] if len(spelled) > 3 else spelled
            elif kind < 0.3:
                spelled = spelled.replace("--", "--no-", 1) if rng.random() < 0.5 else spelled.replace("-", "_").replace("__", "--", 1)
            elif kind < 0.35:
                spelled += rng.choice((".a", ".a.b", ".a+", "x"))
            value = rng.choice([*entry.get("choices", ()), *values])
            if rng.random() < 0.3:
                words.append(f"{spelled}={value}")
            elif entry["takes"] == 0 and rng.random() < 0.8:
                words.append(spelled)
            else:
                words += [spelled, *([value] if rng.random() < 0.95 else [])]
        yield words
