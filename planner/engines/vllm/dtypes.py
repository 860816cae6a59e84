"""What `--kv-cache-dtype` may be (config/cache.py CacheDType)."""

FP8_DTYPES = ("fp8", "fp8_e4m3", "fp8_e5m2")
PLAIN_DTYPES = ("auto", "bfloat16", "float16")
# bits of a value and bytes of scales beside each token and head (kv_cache_interface.py state_content_bytes, read off vLLM)
PACKED_DTYPES = {
    "nvfp4": (4, None),
    "int8_per_token_head": (8, 8),
    "fp8_per_token_head": (8, 8),
    "int4_per_token_head": (4, 8),
}
UNCOVERED_KV_DTYPES = ("fp8_inc", "nvfp4_ds_mla", "nvfp4_4over6", "ultraquant_4bit", "turboquant", "octave")  # vLLM's, of layouts unknown here
KV_CACHE_DTYPES = (*PLAIN_DTYPES, *FP8_DTYPES, "fp8_ds_mla", *PACKED_DTYPES)
