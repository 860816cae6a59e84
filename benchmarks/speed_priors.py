"""What each speed constant is expected to be before any figure is seen: what a kernel of its kind reaches, and by what it may differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prior:
    """What a constant is expected to be, by what relative spread, and what it is."""

    value: float
    spread: float
    unit: str
    meaning: str


SHARE, SECONDS = "share of the peak", "s"
# Of its peak a lone product of two large matrices reaches so much (tests/data/matmul_peaks.csv): HBM and workstation cards are held by their power, a GeForce, whose peak
# is halved, by nothing, and its clock rises above the stated one. The matrices of a prompt reach about four fifths of that on any of them.
MATMUL = {"datacenter": 0.8, "geforce": 1.04, "workstation": 0.8}
OF_MATMUL = 0.81
PRIORS = {
    **{
        f"bandwidth.{engine}": Prior(0.8, 0.1, SHARE, f"memory bandwidth that {engine} reaches on weights")
        for engine in ("vllm", "sglang", "trtllm", "llamacpp", "mlx")
    },
    **{f"layer.{engine}": Prior(45e-6, 0.3, SECONDS, f"starts of a layer in {engine}") for engine in ("vllm", "sglang", "trtllm", "mlx")},
    "layer.llamacpp": Prior(40e-6, 0.3, SECONDS, "starts of a layer in llama.cpp on NVIDIA's cards"),
    "layer.llamacpp.amd": Prior(70e-6, 0.3, SECONDS, "the same on AMD's"),
    "layer.vllm.blackwell": Prior(40e-6, 0.3, SECONDS, "the same on Blackwell"),
    "layer.vllm.geforce": Prior(45e-6, 0.3, SECONDS, "the same on GeForce before Blackwell"),
    "layer.llamacpp.apple": Prior(70e-6, 0.3, SECONDS, "the same on a Mac"),
    "layer.llamacpp.unified": Prior(70e-6, 0.3, SECONDS, "the same on GB10"),
    "layer.llamacpp.2024": Prior(80e-6, 0.3, SECONDS, "the same in builds of 2024, before CUDA graphs and fused kernels"),
    **{
        f"starts.llamacpp_hbm{generation}": Prior(
            1.3, 0.15, "factor", f"all starts of llama.cpp on {cards}: the same short kernels, one after the other, at a lower clock"
        )
        for generation, cards in {"": "cards with HBM", ".hopper": "Hopper with HBM", ".blackwell": "Blackwell with HBM"}.items()
    },  # by clock: A100 1.41 GHz beside 1.70 of an RTX 3090, H100 1.98 beside 2.52 of a 4090, B300 1.92 beside 2.41 of a 5090
    "bandwidth.weight_only": Prior(0.93, 0.1, "factor", "weights widened to 16 bits as they are read: dense Marlin"),
    "bandwidth.weight_only.h20": Prior(0.8, 0.15, "factor", "the same on an H20, which has the most bandwidth for its arithmetic: widening does not keep up"),
    "bandwidth.weight_only.moe": Prior(0.9, 0.15, "factor", "the same of experts: MoE Marlin"),
    "bandwidth.weight_only.moe_datacenter": Prior(0.8, 0.15, "factor", "the same on cards with HBM"),
    "bandwidth.weight_only.llamacpp": Prior(0.93, 0.1, "factor", "quantized GGUF"),
    "bandwidth.weight_only.mlx": Prior(0.93, 0.1, "factor", "quantized MLX"),
    "bandwidth.two_dies.mlx": Prior(0.8, 0.15, "factor", "the same, MLX"),
    "bandwidth.two_dies": Prior(0.85, 0.15, "factor", "Ultra: two dies do not give twice the bandwidth"),
    "bandwidth.h20": Prior(0.4, 0.3, "factor", "H20: its arithmetic does not keep up with its memory"),
    "bandwidth.apple-m1-max": Prior(0.8, 0.15, "factor", "M1 Max: its GPU does not saturate its memory"),
    "bandwidth.llamacpp_hbm": Prior(0.8, 0.15, "factor", "llama.cpp on cards with HBM"),
    "bandwidth.llamacpp_hbm.ampere": Prior(0.7, 0.15, "factor", "the same, A100"),
    "cache": Prior(0.8, 0.15, SHARE, "memory bandwidth reached on the KV cache"),
    "decode": Prior(0.6, 0.2, SHARE, "arithmetic of a decoding batch"),
    "decode.llamacpp": Prior(0.1, 0.4, SHARE, "the same in llama.cpp"),
    "expert_spread": Prior(0.9, 0.05, "power of the batch", "routing is uneven: B tokens touch as many experts as B^spread would at random"),
    "module": Prior(2e-6, 0.3, SECONDS, "one more matrix or norm of a layer"),
    "module.llamacpp": Prior(4e-6, 0.3, SECONDS, "the same in llama.cpp, which quantizes what a matrix multiplies in a kernel of its own"),
    "moe_layer": Prior(35e-6, 0.3, SECONDS, "routing and permuting of a layer of experts"),
    "moe_layer.llamacpp": Prior(35e-6, 0.3, SECONDS, "the same in llama.cpp"),
    "moe_layer.mlx": Prior(35e-6, 0.3, SECONDS, "the same in MLX"),
    "moe_layer.fp8": Prior(35e-6, 0.3, SECONDS, "the same of FP8 experts, which quantize what comes in"),
    "moe_layer.fp4": Prior(35e-6, 0.3, SECONDS, "the same of FP4 experts"),
    "moe_layer.sglang": Prior(35e-6, 0.3, SECONDS, "the same in SGLang"),
    "moe_layer.trtllm": Prior(22e-6, 0.3, SECONDS, "the same in TensorRT-LLM, whose kernels are fused"),
    "recurrent_layer": Prior(20e-6, 0.4, SECONDS, "convolution, gates and scan of a layer of linear attention or Mamba"),
    "recurrent_layer.llamacpp": Prior(20e-6, 0.4, SECONDS, "the same in llama.cpp"),
    "recurrent_layer.mlx": Prior(20e-6, 0.4, SECONDS, "the same in MLX"),
    "index_layer": Prior(40e-6, 0.3, SECONDS, "scores and choice of the tokens that sparse attention sees"),
    "stage": Prior(200e-6, 0.5, SECONDS, "what a token waits where layers go on on the next GPU"),
    "sequence": Prior(15e-6, 0.3, SECONDS, "one more sequence of a batch: sampling, detokenizing, scheduling"),
    "prefill.datacenter": Prior(OF_MATMUL * MATMUL["datacenter"], 0.3, SHARE, "arithmetic of a prompt, cards with HBM"),
    "prefill.geforce": Prior(OF_MATMUL * MATMUL["geforce"], 0.3, SHARE, "arithmetic of a prompt, GeForce"),
    "prefill.workstation": Prior(OF_MATMUL * MATMUL["workstation"], 0.3, SHARE, "arithmetic of a prompt, workstation cards"),
    "prefill.apple": Prior(0.63, 0.3, SHARE, "arithmetic of a prompt, Apple"),
    "prefill.unified": Prior(0.65, 0.3, SHARE, "arithmetic of a prompt, GB10 and Jetson"),
    "prefill.amd": Prior(0.4, 0.3, SHARE, "arithmetic of a prompt, AMD's RDNA"),
    "prefill.amd.vega": Prior(0.6, 0.3, SHARE, "the same, Vega 20, which has no units for matrices"),
    "prefill.amd.cdna": Prior(0.2, 0.3, SHARE, "the same, CDNA"),
    "prefill.llamacpp": Prior(0.5, 0.3, SHARE, "arithmetic of a prompt, llama.cpp on CUDA: products of int8"),
    "prefill.llamacpp.hopper": Prior(0.15, 0.3, SHARE, "the same on Hopper, whose own instructions it does not use"),
    "prefill.llamacpp.2024": Prior(0.5, 0.3, SHARE, "the same in builds of 2024: cuBLAS in 16 bits"),
    "prefill.llamacpp.2024.hopper": Prior(0.3, 0.3, SHARE, "the same on Hopper"),
    "prefill.moe_datacenter": Prior(0.3, 0.3, "factor", "experts' small matrices, cards with HBM"),
    "prefill.moe": Prior(0.6, 0.3, "factor", "experts' small matrices, other cards"),
    "prefill.low_precision": Prior(0.75, 0.15, "factor", "FP8, FP4 and INT8 reach less of their peak"),
    "prefill.weight_only": Prior(0.8, 0.15, "factor", "weights widened before they are multiplied"),
    "attention": Prior(0.6, 0.3, SHARE, "attention over a prompt, of the 16-bit peak"),
    "attention.llamacpp": Prior(0.3, 0.3, SHARE, "the same, llama.cpp on CUDA"),
    "attention.amd": Prior(0.2, 0.5, SHARE, "the same, llama.cpp on AMD"),
    "attention.llamacpp.2024": Prior(0.1, 0.5, SHARE, "the same in builds of 2024, which write all scores to memory"),
    "nvlink.start": Prior(6e-6, 0.3, SECONDS, "what an all-reduce over NVLink waits beyond the measured start: the other ranks, the norm after it"),
    "nvlink.share": Prior(0.8, 0.15, SHARE, "of the measured bus bandwidth"),
    "pcie.start": Prior(6e-6, 0.3, SECONDS, "the same over PCIe"),
    "pcie.hop": Prior(12e-6, 0.4, SECONDS, "what a hop waits for that sends whole messages and no flags"),
    "pcie.share": Prior(0.9, 0.15, SHARE, "of the measured bus bandwidth"),
    "host.sglang": Prior(60e-6, 0.4, SECONDS, "a kernel of a prompt that Python starts: SGLang computes prompts without CUDA graphs"),
    "first_token.vllm": Prior(0.02, 0.3, SECONDS, "HTTP, tokenizing and scheduling before the first token; also of llama.cpp and MLX"),
    "first_token.sglang": Prior(0.06, 0.3, SECONDS, "the same, SGLang's client"),
    "first_token.trtllm": Prior(0.06, 0.3, SECONDS, "the same, TensorRT-LLM's client"),
    **{
        f"queue.{engine}": Prior(0.05, 0.3, "share of the other prompts", "prompts of the first wave that one waits for, over all requests: half of a tenth")
        for engine in ("vllm", "sglang", "trtllm")
    },
    "queue_load": Prior(2, 0.3, "prompts", "of those who came back together that one waits for at full load"),
    "steps_before_first.vllm": Prior(4, 0.4, "decoding steps", "that pass before a prompt is begun, and after; also of llama.cpp and MLX"),
    "steps_before_first.sglang": Prior(4, 0.4, "decoding steps", "the same; SGLang looks for requests once in so many steps (--scheduler-recv-interval)"),
    "steps_before_first.trtllm": Prior(4, 0.4, "decoding steps", "the same, TensorRT-LLM"),
}

POOL_SPREAD = 0.3  # relative, of what the constants of a pool have in common
POOLS = (  # constants of the same thing: where no figure tells one it is like the others, each in proportion to its prior. llama.cpp and MLX have kernels of their own
    frozenset(f"bandwidth.{engine}" for engine in ("vllm", "sglang", "trtllm", "llamacpp", "mlx")),  # what memory gives a long read
    frozenset({"bandwidth.weight_only", "bandwidth.weight_only.h20", "bandwidth.weight_only.moe", "bandwidth.weight_only.moe_datacenter"}),
    frozenset({"layer.vllm", "layer.sglang", "layer.trtllm", "layer.vllm.blackwell", "layer.vllm.geforce"}),
    frozenset({"layer.llamacpp", "layer.llamacpp.2024", "layer.llamacpp.unified"}),
    frozenset(f"starts.llamacpp_hbm{generation}" for generation in ("", ".hopper", ".blackwell")),
    frozenset({"moe_layer", "moe_layer.fp8", "moe_layer.fp4", "moe_layer.sglang", "moe_layer.trtllm"}),
    frozenset({"prefill.datacenter", "prefill.geforce", "prefill.workstation"}),
    frozenset({"prefill.moe", "prefill.moe_datacenter"}),
    frozenset(f"queue.{engine}" for engine in ("vllm", "sglang", "trtllm")),
)
