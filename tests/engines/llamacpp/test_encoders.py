"""Buffers of encoders, which hold every token against every other and keep no cache: as v0.5.0's own graphs lay them out, and logs."""

import pytest

from planner.catalogue.resolve import find_plain
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.backend import Backend
from planner.engines.llamacpp.ledger import ledger_of
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.model import converted
from planner.engines.llamacpp.ollama_own import batch, earlier
from planner.facts.question import ServiceRow, StackRow
from planner.questions.check import check, find_server
from planner.questions.plan import answer_for
from planner.units import GIB, MIB

LIBRARY = 20_500  # v0.5.0


def buffers(name, rows, **settings):
    """MiB of the buffer on the GPU and in main memory for texts of so many tokens."""
    config = LlamaCppConfig(**{"context": rows, "ubatch": rows, "build": LIBRARY, "backend": Backend.CUDA, **settings})
    held = ledger_of(converted(find_plain(name).spec, "F16"), config, (24 * GIB,))
    return held.gpus[0].compute_bytes / MIB, held.host.compute_bytes / MIB


# Of the library with a device of CUDA's rules (tests/oracle/llamacpp_encoders.py): with all layers on the GPU, and with some in main memory.
@pytest.mark.parametrize(("name", "rows", "flash", "whole", "part", "host"), [
    ("bge-m3", 512, True, 12.5, 20.5, 6.5),
    ("bge-m3", 512, False, 27, 28, 7),
    ("bge-m3", 2048, True, 56, 74, 32.02),
    ("bge-m3", 2048, False, 312, 314, 40.02),
    ("bge-m3", 8192, True, 320, 386, 224.06),
    ("bge-m3", 8192, False, 4512, 4514, 352.06),
    ("bge-small-en-v1.5", 256, False, 5.13, 5.41, 1.38),
    ("bge-small-en-v1.5", 512, False, 16.75, 17.03, 3.25),
    ("nomic-embed-text", 512, True, 21.51, None, 3.5),
    ("nomic-embed-text", 2048, False, 250.01, None, 28.02),
    ("nomic-embed-text", 8192, True, 464.03, None, 176.06),
])  # fmt: skip
def test_an_encoders_buffers_are_those_of_the_library(name, rows, flash, whole, part, host):
    assert buffers(name, rows, flash_attention=flash) == pytest.approx((whole, host), abs=0.04)
    if part:
        assert buffers(name, rows, flash_attention=flash, gpu_layers=3)[0] == pytest.approx(part, abs=0.02)


# Heads of 32 have no kernel on CUDA: flash attention is turned off, or where a command asks for it main memory attends (gpustack/gguf-parser-go#51, an A40).
@pytest.mark.parametrize(("layers", "mib"), [(13, 4.5), (4, 5.62)])
def test_attention_that_is_asked_for_without_a_kernel_is_not_on_the_gpu(layers, mib):
    assert buffers("bge-small-en-v1.5", 512, insists_on_flash=True, gpu_layers=layers)[0] == pytest.approx(mib, abs=0.01)


def test_earlier_ollama_embeds_a_whole_context_at_once():
    """bge-m3, whose tokenizer its own engine did not know, by 0.20.2: a public log has 528.04 MiB on the GPU and 320.09 in main memory."""
    model = converted(find_plain("bge-m3").spec, "F16")
    config = earlier(model, LlamaCppConfig(context=8192), "0.20.2", asks_for_flash=False)
    assert batch(model, config, "0.20.2") == 8192
    assert buffers("bge-m3", 8192, build=config.build, flash_attention=config.flash_attention) == pytest.approx((528.04, 320.09), abs=0.05)
    assert batch(model, config, "0.13.2") == 512


def test_ollama_embeds_by_batches_of_2048():
    assert [ollama.batch(GIB, context, 24 * GIB, embeds=True) for context in (512, 8192)] == [512, 2048]


@pytest.mark.parametrize(("asked", "written"), [(None, "auto"), ("on", "on"), ("off", "off")])
def test_a_plan_leaves_flash_attention_of_an_encoder_to_llama_cpp(asked, written):
    plan = answer_for(StackRow(gpu="rtx4090", engine="llama.cpp", services=[ServiceRow(model="bge-small-en-v1.5", flash_attn=asked)])).main
    argv = plan.service.argv
    assert argv[argv.index("--flash-attn") + 1] == written
    again = check(find_server(" ".join(argv)), plan.group)
    assert {line.key: line.bytes for line in again.lines} == {line.key: line.bytes for line in plan.lines}
