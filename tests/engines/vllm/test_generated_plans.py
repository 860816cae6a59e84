"""200 generated caches of every attention kind, hybrids with recurrent state among them: our plan equals that of vLLM's own planner."""

import json
import os
import subprocess
from random import Random

import pytest
from conftest import ROOT

from planner.engines.vllm.kvcache import CacheSpec, cache_specs, longest_model_len, plan_cache
from planner.engines.vllm.rules import in_flight_tokens
from planner.engines.vllm.settings import ServeConfig
from planner.facts.attention import Attention, ChunkedLocal, FullAttention, LatentAttention, RecurrentState, SlidingWindow
from planner.facts.config import CacheLayout, Parallel
from planner.facts.model import LayerGroup, ModelSpec
from planner.facts.modules import Axis, Split, Tensor
from tests.judges import judge_venv

CASES = 200
KINDS = ["full", "sliding", "chunked", "latent", "mamba", "delta", "conv"]


def caches(kind: str, random: Random, heads: int, width: int) -> list[Attention]:
    """The caches of a model's layers, one after the other."""
    full = FullAttention(kv_heads=heads, head_dim=width, head_dim_v=width)
    window = random.choice([128, 512, 1024, 4096, 8192])
    layers = random.randint(2, 40)
    if kind == "full":
        return [full] * layers
    if kind == "latent":
        return [LatentAttention(latent_dim=512, rope_dim=64)] * layers
    if kind in ("sliding", "chunked"):
        local = (
            SlidingWindow(kv_heads=heads, head_dim=width, head_dim_v=width, window=window)
            if kind == "sliding"
            else ChunkedLocal(kv_heads=heads, head_dim=width, head_dim_v=width, chunk=window)
        )
        return [full if index % random.choice([2, 4, 6]) == 0 else local for index in range(layers)] + [full, local]
    inner, ssm_bits = 128 * random.randint(8, 80), random.choice([16, 32])
    shapes = {
        "mamba": (
            Tensor(name="conv", axes=(Axis(3), Axis(inner, Split.TP))),
            Tensor(name="ssm", axes=(Axis(64, Split.TP), Axis(64), Axis(128)), bits=ssm_bits),
        ),
        "delta": (
            Tensor(name="conv", axes=(Axis(3), Axis(inner, Split.TP))),
            Tensor(name="ssm", axes=(Axis(32, Split.TP), Axis(128), Axis(128)), bits=ssm_bits),
        ),
        "conv": (Tensor(name="conv", axes=(Axis(2), Axis(inner, Split.TP))),),
    }
    alignment = {"mamba": 1, "delta": 64, "conv": 0}[kind]
    state = RecurrentState(tensors=shapes[kind], checkpoint_alignment=alignment)
    every = random.randint(2, 6)
    return [full if index % every == every - 1 else state for index in range(every * random.randint(1, 8))]


def model_of(made: list[Attention], heads: int, width: int) -> ModelSpec:
    groups = tuple(LayerGroup(indices=(index,), modules=(), caches=(cache,)) for index, cache in enumerate(made))
    return ModelSpec(
        name="made",
        architecture="Made",
        quantization=None,
        max_position_embeddings=262_144,
        hidden_size=1024,
        intermediate_size=1024,
        vocab_size=1000,
        attention_heads=64,
        kv_heads=heads,
        head_dim=width,
        first=(),
        layers=groups,
        last=(),
    )


def described(spec: CacheSpec, tp: int, layout: CacheLayout) -> dict:
    """One cache as tests/oracle/plan_specs.py reads it."""
    common = {"block": spec.block_size, "layers": list(spec.layers), "bits": layout.bits}
    match spec.attention:
        case RecurrentState(tensors=tensors, checkpoint_alignment=alignment):
            shapes = [[axis.size // tp if axis.split is Split.TP else axis.size for axis in tensor.axes] for tensor in tensors]
            checkpoints = int(alignment == 1 or (alignment > 1 and layout.state_checkpoints))
            bits = [tensor.bits for tensor in tensors]
            return common | {"kind": "state", "shapes": shapes, "bits": bits, "page": spec.page_bytes, "checkpoints": checkpoints}
        case LatentAttention():
            return common | {"kind": "latent", "dim": 576}
        case FullAttention(kv_heads=heads, head_dim=width):
            return common | {"kind": "full", "heads": max(1, heads // tp), "dim": width}
        case SlidingWindow(kv_heads=heads, head_dim=width, window=window):
            return common | {"kind": "sliding", "heads": max(1, heads // tp), "dim": width, "window": window}
        case ChunkedLocal(kv_heads=heads, head_dim=width, chunk=chunk):
            return common | {"kind": "chunked", "heads": max(1, heads // tp), "dim": width, "window": chunk}
    raise AssertionError(spec)


def case(number: int) -> tuple[dict, dict]:
    """A question for vLLM, and our answer to it."""
    random = Random(number)
    kind = KINDS[number % len(KINDS)]
    heads, width, tp = random.choice([1, 2, 4, 8, 16]), random.choice([64, 128, 256]), random.choice([1, 2, 4, 8])
    layout = CacheLayout(backend="made", block_size=64 if kind == "latent" else 16, bits=random.choice([16, 16, 8]), state_checkpoints=random.random() < 0.5)
    model = model_of(caches(kind, random, heads, width), heads, width)
    length, batch = random.choice([4096, 32_768, 40_000, 131_072, 262_144]), random.choice([512, 2048, 8192])
    available = int(2 ** random.uniform(25, 35))
    specs = cache_specs(model, tp, layout)
    question = {
        "specs": [described(spec, tp, layout) for spec in specs],
        "block": max(spec.block_size for spec in specs),
        "state": model.has_state,
        "batch": batch,
        "max_model_len": length,
        "available_bytes": available,
    }
    plan = plan_cache(model, Parallel(tensor_parallel_size=tp), layout)
    in_flight = in_flight_tokens(ServeConfig(max_num_batched_tokens=batch))
    blocks, needed = available // plan.block_bytes, plan.blocks_per_request(length, in_flight)
    ours = {"block_bytes": plan.block_bytes, "needed_bytes": needed * plan.block_bytes}
    if needed <= blocks - 1:
        ours |= {"blocks": blocks, "tokens": int(blocks / needed * length), "concurrency": blocks / needed}
    else:
        ours["longest"] = longest_model_len(plan, blocks - 1, length, in_flight)
    return question, ours


@pytest.mark.judge
def test_generated_plans_equal_vllms_planner():
    pairs = [case(number) for number in range(CASES)]
    python = judge_venv("vllm") / "bin" / "python"
    done = subprocess.run(
        [python, "plan_specs.py", "h100", "9.0", str(80 * 2**30), "1"],
        cwd=ROOT / "tests" / "oracle",
        env=os.environ | {"PYTHONPATH": str(ROOT / "planner" / "engines" / "vllm" / "judge")},
        input="".join(json.dumps(question) + "\n" for question, _ in pairs),
        text=True,
        capture_output=True,
        timeout=1800,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == CASES, done.stderr[-3000:]
    different = {number: (ours, theirs) for number, ((_, ours), theirs) in enumerate(zip(pairs, answers, strict=True)) if ours != theirs}
    assert not different
    assert sum("longest" in theirs for theirs in answers) >= 10
