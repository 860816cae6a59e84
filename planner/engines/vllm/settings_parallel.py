"""The rows of the table of settings that say how a server is divided over GPUs and engines, and what of it lies in main memory."""

from __future__ import annotations

from planner.facts.settings import Kind, Setting

PARALLEL = (
    Setting(
        name="data_parallel_size",
        flag="--data-parallel-size",
        aliases=("-dp",),
        kind=Kind.COUNT,
        default=1,
        least=1,
        most=1024,
        help="Engines behind one address, each with a cache of its own; the experts of a model are shared by all.",
        place=3,
        short="dp",
    ),
    Setting(
        name="decode_context_parallel_size",
        flag="--decode-context-parallel-size",
        aliases=("-dcp",),
        kind=Kind.COUNT,
        default=1,
        least=1,
        most=1024,
        help="Ranks over which the tokens of the KV cache are divided.",
        short="dcp",
    ),
    Setting(name="prefill_context_parallel_size", flag="--prefill-context-parallel-size", aliases=("-pcp",), kind=Kind.COUNT, default=1, least=1, is_pin=False),
    Setting(name="all2all_backend", flag="--all2all-backend", kind=Kind.TEXT, default="allgather_reducescatter", is_pin=False),
    Setting(name="enable_eplb", flag="--enable-eplb", off=("--no-enable-eplb",), kind=Kind.SWITCH, default=False, is_pin=False),
    Setting(name="eplb_config", flag="--eplb-config", kind=Kind.TEXT, is_pin=False),
    Setting(name="mm_encoder_tp_mode", flag="--mm-encoder-tp-mode", kind=Kind.TEXT, default="weights", choices=("data", "weights"), is_pin=False),
)

OFFLOAD = (
    Setting(
        name="cpu_offload_gb",
        flag="--cpu-offload-gb",
        kind=Kind.GIB,
        default=0.0,
        least=0,
        most=1 << 20,
        help="GiB of each GPU's weights that lie in main memory and are read from there.",
    ),
    Setting(name="cpu_offload_params", flag="--cpu-offload-params", kind=Kind.TEXT, is_pin=False),
    Setting(name="offload_backend", flag="--offload-backend", kind=Kind.TEXT, default="auto", choices=("auto", "prefetch", "uva"), is_pin=False),
    Setting(name="offload_group_size", flag="--offload-group-size", kind=Kind.COUNT, default=0, least=0, is_pin=False),
    Setting(name="offload_num_in_group", flag="--offload-num-in-group", kind=Kind.COUNT, default=1, least=1, is_pin=False),
    Setting(name="offload_prefetch_step", flag="--offload-prefetch-step", kind=Kind.COUNT, default=1, least=0, is_pin=False),
    Setting(name="offload_params", flag="--offload-params", kind=Kind.TEXT, is_pin=False),
    Setting(name="kv_offloading_size", flag="--kv-offloading-size", kind=Kind.GIB, least=0, is_pin=False),
    Setting(name="kv_offloading_backend", flag="--kv-offloading-backend", kind=Kind.TEXT, default="native", choices=("lmcache", "native"), is_pin=False),
    Setting(name="kv_transfer_config", flag="--kv-transfer-config", kind=Kind.TEXT, is_pin=False),
    Setting(name="enable_sleep_mode", flag="--enable-sleep-mode", off=("--no-enable-sleep-mode",), kind=Kind.SWITCH, default=False, is_pin=False),
)
