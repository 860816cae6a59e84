"""What `--kv-cache-dtype` may be (config/cache.py CacheDType)."""

from planner.facts.config import PackedSlot

FP8_DTYPES = ("fp8", "fp8_e4m3", "fp8_e5m2")
PLAIN_DTYPES = ("auto", "bfloat16", "float16")
# bits of a value and bytes of scales beside each token and head (kv_cache_interface.py state_content_bytes, read off vLLM)
PACKED_DTYPES = {
    "nvfp4": (4, None),
    "nvfp4_4over6": (4, None),
    "int8_per_token_head": (8, 8),
    "fp8_per_token_head": (8, 8),
    "int4_per_token_head": (4, 8),
}
# A key and a value of a head in one slot: codes, then a float16 norm of the key (not of FP8's) and scale and zero of the value
# (quantization/turboquant/config.py); a scale byte of 32 codes (attention/ops/ultraquant/format.py); of heads of 256 with 64 rotary dimensions, which
# are all that the kernels take, 64 keys' codes of 4 bits and float16 scales (attention/ops/rocm_octave.py).
SLOTS = {
    "turboquant_k8v4": PackedSlot(key_bits=8, value_bits=4, beside_bytes=4),
    "turboquant_4bit_nc": PackedSlot(key_bits=4, value_bits=4, beside_bytes=6),
    "turboquant_k3v4_nc": PackedSlot(key_bits=3, value_bits=4, beside_bytes=6),
    "turboquant_3bit_nc": PackedSlot(key_bits=3, value_bits=3, beside_bytes=6),
    "ultraquant_4bit": PackedSlot(key_bits=4, value_bits=4, scaled=32),
    "octave_k3v4": PackedSlot(key_bits=3, value_bits=4, beside_bytes=64 // 8 + 10, multiple=8),
    "octave_k3v3": PackedSlot(key_bits=3, value_bits=3, beside_bytes=64 // 8 + 10, multiple=8),
    "octave_k3v3_compact": PackedSlot(key_bits=3, value_bits=3, beside_bytes=4, multiple=4),
}
GAUDI_DTYPE = "fp8_inc"  # Intel's; vLLM names it and none of its own backends takes it
KV_CACHE_DTYPES = (*PLAIN_DTYPES, *FP8_DTYPES, "fp8_ds_mla", "nvfp4_ds_mla", *PACKED_DTYPES, *SLOTS, GAUDI_DTYPE)
