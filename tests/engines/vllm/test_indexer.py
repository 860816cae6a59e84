"""What a sparse indexer works in: from shapes, by release, each value derived by hand beside it."""

import pytest
from conftest import config_model, small_model

from planner.engines.vllm import indexer
from planner.engines.vllm.coefficients import Outlook
from planner.engines.vllm.overhead import Shapes, text_activation
from planner.engines.vllm.settings import ServeConfig
from planner.units import MIB


def asked(length: int, version: str = "0.24") -> ServeConfig:
    return ServeConfig(max_model_len=length, max_num_seqs=1024, max_num_batched_tokens=8192, vllm_version=version)


@pytest.mark.parametrize(
    ("name", "length", "version", "size"),
    [
        ("deepseek-ai/DeepSeek-V3.2", 163_840, "0.24", 865_075_200),  # 40 x 163,840 x 132: the release's own sum
        ("deepseek-ai/DeepSeek-V3.2", 163_840, "0.12", 2 * 865_075_200),
        ("deepseek-ai/DeepSeek-V3.2", 163_840, "0.33", 865_075_200),
        ("deepseek-ai/DeepSeek-V3.2", 300_000, "0.33", 16 * 300_000 * 132),  # 8 rows x factor 2 beyond 256 Ki
        ("deepseek-ai/DeepSeek-V3.2", 300_000, "0.31", 40 * 300_000 * 132),
        ("deepseek-ai/DeepSeek-V4-Flash", 1_048_576, "0.24", 40 * 1_048_576 // 4 * 132),  # a key for four tokens
        ("Qwen/Qwen3-8B", 40_960, "0.24", 0),
    ],
)
def test_keys_that_are_gathered(name, length, version, size):
    assert indexer.gathered_keys(config_model(name), asked(length, version)) == size


def test_logits_of_prompts_are_profiled_since_0_19():
    sparse = config_model("deepseek-ai/DeepSeek-V3.2")
    assert [indexer.prompt_logits(sparse, asked(8192, version)) for version in ("0.18", "0.19")] == [0, 512 * MIB]
    assert indexer.prompt_logits(small_model(), asked(8192)) == 0


def test_logits_of_the_largest_batch_that_is_captured():
    sparse = config_model("deepseek-ai/DeepSeek-V3.2")
    assert indexer.decode_logits(sparse, asked(100_000), 512, Outlook.EXPECTED) == 2 * 512 * 100_000 * 4
    assert indexer.decode_logits(sparse, asked(100_000), 512, Outlook.OPTIMISTIC) == 512 * 100_000 * 4
    assert indexer.decode_logits(sparse, asked(100_000), 4096, Outlook.OPTIMISTIC) == 1024 * 100_000 * 4  # no more than sequences
    assert indexer.decode_logits(config_model("deepseek-ai/DeepSeek-V4-Flash"), asked(100_000), 512, Outlook.OPTIMISTIC) == 512 * 25_000 * 4
    assert indexer.decode_logits(small_model(), asked(100_000), 512, Outlook.EXPECTED) == 0


def test_experts_and_indexer_share_a_workspace():
    """A longer context takes more only where the keys exceed what experts work in."""
    sparse = config_model("deepseek-ai/DeepSeek-V3.2")
    peaks = [text_activation(Shapes(sparse, asked(length)), 3.7, last_stage=True) for length in (4096, 8192, 1_000_000, 1_000_100)]
    assert peaks[0] == peaks[1]
    assert peaks[3] - peaks[2] == 100 * 40 * 132
