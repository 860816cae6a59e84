"""Weights of a conversion and its caches to the byte, as mlx-lm 0.32.2 and older releases have them; what its name and mlx-lm's own words say."""

import json
import re
import subprocess

import pytest
from conftest import ROOT
from judges import judge_venv

from benchmarks.runtimes import model
from planner.catalogue import resolve
from planner.catalogue.load import find_gpu
from planner.catalogue.resolve import find_plain
from planner.engines.mlx.ask import ask_of
from planner.engines.mlx.memory import kv_bytes, read_format, read_name, stored, weights_bytes
from planner.engines.mlx.plan import plan_mlx
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.question import ServiceRow, StackRow
from planner.facts.verdict import Verdict
from planner.questions.check import check, find_server, group_for
from planner.questions.explain import explain_log

STEMS = (
    "Qwen--Qwen3-0.6B",
    "Qwen--Qwen3-30B-A3B",  # routers at 8 bits
    "Qwen--Qwen3.5-35B-A3B",
    "Qwen--Qwen1.5-MoE-A2.7B",  # no predicate
    "made--Mixtral-8x7B-v0.1-gptq4g128",
    "baidu--ERNIE-4.5-21B-A3B-PT",
    "deepseek-ai--DeepSeek-V2-Lite-Chat",  # routers are parameters
    "deepseek-ai--DeepSeek-V3",
    "zai-org--GLM-4.7-Flash",
    "XiaomiMiMo--MiMo-V2-Flash",
    "CohereLabs--c4ai-command-r7b-12-2024",
    "google--gemma-4-26B-A4B",
    "google--gemma-4-E4B-it",
    "openai--gpt-oss-20b",
    "nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "ibm-granite--granite-4.0-h-tiny",
    "ibm-granite--granite-4.1-8b",  # outputs at 8 bits
    "made--lfm2moe",
    "made--kimi-linear",
)


CACHES = (  # families by the class of their caches, bits of them
    ("Qwen--Qwen3-0.6B", 16),
    ("Qwen--Qwen3-0.6B", 8),
    ("Qwen--Qwen3.5-2B", 16),  # states of the delta rule
    ("ibm-granite--granite-4.0-h-tiny", 16),  # Mamba2
    ("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 8),
    ("made--lfm2", 16),  # short convolutions
    ("made--kimi-linear", 16),
    ("deepseek-ai--DeepSeek-V2-Lite-Chat", 16),  # keys and values of all heads
    ("deepseek-ai--DeepSeek-V2-Lite-Chat", 8),
    ("deepseek-ai--DeepSeek-V3", 16),  # latents
    ("deepseek-ai--DeepSeek-V3.2", 16),  # and an indexer's
    ("meituan-longcat--LongCat-Flash-Chat", 16),
    ("moonshotai--Kimi-VL-A3B-Instruct", 16),
    ("openai--gpt-oss-20b", 16),  # windows
    ("google--gemma-3-1b-it", 16),
    ("google--gemma-4-E4B-it", 16),
    ("google--gemma-2-9b-it", 16),
    ("XiaomiMiMo--MiMo-V2-Flash", 16),
    ("meta-llama--Llama-4-Scout-17B-16E-Instruct", 16),
    ("mistralai--Mistral-7B-Instruct-v0.3", 16),
)
WINDOWED = ("openai", "google--gemma-3", "google--gemma-4", "Xiaomi")  # a step takes a token of its window


def answers(questions):
    """mlx-lm's own, in the order of the questions."""
    lines = [json.dumps({"config": json.loads((ROOT / "tests/data/configs" / f"{stem}.json").read_text()), **asked}) for stem, asked in questions]
    script = [judge_venv("mlx") / "bin" / "python", ROOT / "tests" / "oracle" / "mlx_models.py"]
    done = subprocess.run(script, input="\n".join(lines), text=True, capture_output=True, timeout=300, check=False)
    sizes = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("bytes ")]
    assert len(sizes) == len(questions), done.stderr[-2000:]
    return sizes


@pytest.mark.judge
@pytest.mark.slow
def test_a_conversion_has_mlx_lm_s_own_bytes():
    asked = [(stem, 3 + place % 2) for place, stem in enumerate(STEMS)]
    for (stem, bits), size in zip(asked, answers([(stem, {"what": "weights", "bits": bits}) for stem, bits in asked]), strict=True):
        ours = weights_bytes(model(stem), read_format(f"{bits}bit"), vision=False, guarded=True)
        assert ours == pytest.approx(size, rel=1e-4), (stem, bits)  # decays in 32 bits, LoRA-sized gates


@pytest.mark.judge
@pytest.mark.slow
def test_caches_have_mlx_lm_s_own_bytes():
    """768 tokens in steps of 256, so that windows hold a step beside themselves."""
    theirs = answers([(stem, {"what": "caches", "bits": bits, "tokens": 768, "step": 256}) for stem, bits in CACHES])
    for (stem, bits), size in zip(CACHES, theirs, strict=True):
        assert kv_bytes(model(stem), 768, bits, step=256) == (pytest.approx(size, rel=3e-3) if stem.startswith(WINDOWED) else size), (stem, bits)


def checked(text: str) -> Plan:
    command = find_server(text)
    return check(command, group_for(command, "m4-24gb", 1, "server"))


def weights_of(plan: Plan):
    return next(line for line in plan.lines if line.key == "weights")


def test_conversions_before_may_2024_keep_embeddings_in_16_bits():
    """5.28 and 9.03 GB are what mlx-community's Meta-Llama-3-8B-Instruct holds in 4 and 8 bits, tokenizer and all; 8.54 what a later one does."""
    plain = find_plain("llama-3-8b")
    for bits, gigabytes in (("4bit", 5.28), ("8bit", 9.03)):
        held = stored(plain.spec, read_format(bits), released=plain.released)
        assert held.usual == held.high == pytest.approx(gigabytes * 1e9, rel=2e-3)
        assert held.usual - held.low == 128_256 * 4096 * (16 - read_format(bits).bits - 0.5) / 8
    assert stored(plain.spec, read_format("8bit")).usual == pytest.approx(8.54e9, rel=2e-3)
    assert stored(plain.spec, read_format("bf16"), released=plain.released).differs == ""
    line = weights_of(checked("mlx_lm.server --model mlx-community/Meta-Llama-3-8B-Instruct-4bit"))
    assert line.low_bytes < line.bytes == line.high_bytes
    later = weights_of(checked("mlx_lm.server --model mlx-community/Meta-Llama-3.1-8B-Instruct-4bit"))
    assert later.low_bytes == later.high_bytes == line.low_bytes


def test_granite_s_outputs_have_8_bits_since_september_2026():
    held = stored(model("ibm-granite--granite-4.1-8b"), read_format("4bit"))
    assert (held.low, held.usual, held.high) == (4_945_747_968, 4_945_747_968, 6_535_389_184)
    assert stored(model("ibm-granite--granite-4.1-8b"), read_format("8bit")).differs == ""


def test_routers_that_are_parameters_stay_in_16_bits():
    """58 routers of 256 experts of DeepSeek V3."""
    form = read_format("4bit")
    spec = model("deepseek-ai--DeepSeek-V3")
    assert weights_bytes(spec, form) == 377_606_852_608


def test_a_latent_is_kept_expanded_where_the_class_does_so():
    """DeepSeek-Coder-V2-Lite's cache is 8.9 times its latent's: 16 heads of 192 and 128 values; Kimi VL's in mlx-vlm alone."""
    command = "mlx_lm.server --model mlx-community/DeepSeek-Coder-V2-Lite-Instruct-4bit-mlx --decode-concurrency 1 --prompt-concurrency 1"
    plan = checked(command)
    assert plan.memory["kv_cache_bytes"] == 27 * plan.context * 16 * (192 + 128) * 2
    assert checked(command + " --kv-bits 8").starts
    text, vision = (
        checked(f"{server}.server --model mlx-community/Kimi-VL-A3B-Thinking-4bit --{bound} 1")
        for server, bound in (("mlx_lm", "prompt-concurrency"), ("mlx_vlm", "max-num-seqs"))
    )
    assert vision.memory["kv_cache_bytes"] / vision.context > 8 * text.memory["kv_cache_bytes"] / text.context


def test_a_cache_that_mlx_cannot_quantize_is_refused():
    """mx.quantize: heads of 96 are no whole groups of 64; models/gemma2.py composes its scores of arrays."""
    for name in ("Phi-3.5-mini-instruct", "gemma-2-9b-it"):
        plan = checked(f"mlx_lm.server --model mlx-community/{name}-4bit --kv-bits 8")
        assert [problem.code for problem in plan.problems] == ["unsupported"]


@pytest.mark.parametrize(
    ("name", "base", "form", "mixed"),
    [
        ("Qwen3-32B-4bit", "Qwen3-32B", "4bit", ""),
        ("gpt-oss-20b-MLX-8bit", "gpt-oss-20b", "8bit", ""),
        ("DeepSeek-Coder-V2-Lite-Instruct-4bit-mlx", "DeepSeek-Coder-V2-Lite-Instruct", "4bit", ""),
        ("Qwen3-8B-4bit-DWQ", "Qwen3-8B", "4bit", "-4bit-DWQ"),
        ("gpt-oss-20b-MXFP4-Q8", "gpt-oss-20b", "mxfp4-q8", ""),
    ],
)
def test_a_conversion_s_name_says_its_model_and_format(name, base, form, mixed):
    read = read_name(name)
    assert (read.base, read.form, read.mixed) == (base, form, mixed)
    assert read_name(base) is None


@pytest.mark.parametrize(
    ("model", "more", "repo", "form"),
    [
        ("mlx-community/Qwen3-32B-4bit", {}, "mlx-community/Qwen3-32B-4bit", "4bit"),
        ("mlx-community/Qwen3-32B-4bit-DWQ", {}, "mlx-community/Qwen3-32B-4bit-DWQ", "4bit"),
        ("mlx-community/Qwen3-32B-4bit", {"quantization": "6bit"}, "mlx-community/Qwen3-32B-6bit", "6bit"),
        ("qwen3-32b-4bit", {}, "mlx-community/Qwen3-32B-4bit", "4bit"),
        ("qwen3-32b", {}, "mlx-community/Qwen3-32B-8bit", "8bit"),
    ],
)
def test_a_conversion_is_planned_by_its_repository(model, more, repo, form):
    """Whoever has a Mac names what `mlx_lm.server` is told; the Hub was asked before for a name that the catalogue knows the model of."""
    service = ServiceRow(model=model, **more)
    question = StackRow(gpu="m4-max-64gb", services=(service,), engine="mlx")
    ask = ask_of(service, GpuGroup(gpu=find_gpu("m4-max-64gb"), count=1), question, resolve, is_main=True)
    assert (ask.repo, ask.form.name) == (repo, form)


@pytest.mark.parametrize(
    ("model", "more", "repo"),
    [
        ("qwen3-8b", {}, "mlx-community/Qwen3-8B-8bit"),
        ("qwen3-14b", {}, "mlx-community/Qwen3-14B-4bit"),  # 8 and 6 bits leave less than a context of use
        ("qwen3-14b", {"context": 16_384}, "mlx-community/Qwen3-14B-6bit"),  # 8 bits are 14.6 GiB of 16
        ("qwen3-14b", {"context": 32_768}, "mlx-community/Qwen3-14B-4bit"),
        ("qwen3-14b", {"context": 32_768, "quantization": "8bit"}, "mlx-community/Qwen3-14B-8bit"),
        ("qwen3-32b", {}, "mlx-community/Qwen3-32B-4bit"),  # none fits: the lightest tried
        ("gpt-oss-20b", {}, "mlx-community/gpt-oss-20b-MXFP4-Q8"),  # as its makers publish its experts
    ],
)
def test_a_format_that_nobody_named_is_one_that_fits(model, more, repo):
    """An owner of a Mac of 24 GB was told that gpt-oss-20b does not start: 8 bits of it do not."""
    service = ServiceRow(model=model, **more)
    question = StackRow(gpu="m4-24gb", services=(service,), engine="mlx")
    plan = plan_mlx(ask_of(service, GpuGroup(gpu=find_gpu("m4-24gb"), count=1), question, resolve, is_main=True))
    assert plan.model.id == repo
    assert plan.starts is (repo != "mlx-community/Qwen3-32B-4bit" and "quantization" not in more)
    assert checked(" ".join(plan.service.argv)).model.quantization == plan.model.quantization


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "mlx_vlm.server --model mlx-community/Qwen3-VL-8B-Instruct-4bit --kv-bits 8 --max-kv-size 32768 --max-num-seqs 1",
            r"at its most prefill takes [\d.]+ GiB, more than is left: --prefill-step-size 1024 surely fits",
        ),
        ("mlx_lm.server --model mlx-community/Qwen3-14B-8bit", r"at their most kept prompts take [\d.]+ GiB: --prompt-cache-bytes bounds them"),
    ],
)
def test_a_plan_that_may_fail_says_what_is_not_sure(command, said):
    """It said of each that older versions of macOS wire less, of which neither would have made a difference."""
    plan = checked(command)
    assert plan.verdict is Verdict.TIGHT
    (message,) = [warning.message for warning in plan.warnings if warning.code == "tight"]
    assert re.fullmatch(said, message)
    if "1024" in message:
        assert checked(f"{command} --prefill-step-size 1024").verdict is Verdict.STARTS


def test_what_mlx_lm_says_of_a_large_model_names_no_card():
    """48 GiB are what Metal recommends on a Mac of 64 GB, and the total of a Radeon PRO W7900."""
    said = "[WARNING] Generating with a model that requires 52000 MB which is close to the maximum recommended size of 49152 MB. This can be slow."
    explained, gpu = explain_log([said])
    assert gpu is None
    assert explained.observed.started
    assert "iogpu.wired_limit_mb" in explained.remedies[0].change


def test_what_mlx_lm_generate_says_is_read():
    lines = ["==========", "Prompt: 18 tokens, 40.011 tokens-per-sec", "Generation: 200 tokens, 60.2 tokens-per-sec", "Peak memory: 5.374 GB"]
    explained, _ = explain_log(lines)
    assert (explained.observed.engine, explained.observed.used_bytes, explained.observed.started) == ("mlx", 5_374_000_000, True)


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: [quantize] The last dimension of the matrix needs to be divisible by the quantization group size 64. However the provided  matrix has shape (1,8,256,96)",
        "NotImplementedError: RotatingKVCache Quantization NYI",
        "ValueError: Quantized SDPA does not support attention sinks.",
        "  File \"/lib/python3.12/site-packages/mlx_lm/models/base.py\", line 90\nAttributeError: 'list' object has no attribute 'swapaxes'",
    ],
)
def test_a_cache_that_could_not_be_quantized_is_explained(line):
    """mlx 0.32 and mlx-lm 0.32.2, models/cache.py, base.py, glm4_moe_lite.py: it asked for the lines around it, and thought of vLLM."""
    explained, _ = explain_log(line.splitlines())
    assert (explained.observed.engine, explained.observed.root_cause.code) == ("mlx", "unsupported")
    assert "leave out --kv-bits" in explained.remedies[0].change


@pytest.mark.parametrize("lines", [["Peak memory: 10.2 GB", "RuntimeError: boom"], ["AttributeError: 'list' object has no attribute 'swapaxes'"]])
def test_what_any_program_may_say_is_not_taken_for_mlx_s(lines):
    observed = explain_log(lines)[0].observed
    assert (observed.engine == "mlx", observed.started) == (False, False)


def test_an_error_after_an_answer_is_not_called_started():
    observed = explain_log(["Generation: 200 tokens, 60.2 tokens-per-sec", "RuntimeError: boom"])[0].observed
    assert (observed.engine, observed.started) == ("mlx", False)


def test_formats_that_are_younger_quantize_the_embedding():
    """MLX had 2, 4 and 8 bits of its own before May 2024, no 3 or 6, no MXFP4."""
    plain = find_plain("llama-3-8b")
    for form in ("3bit", "6bit", "mxfp4", "mxfp8", "nvfp4"):
        assert stored(plain.spec, read_format(form), released=plain.released).differs == ""
    dwq = weights_of(checked("mlx_lm.server --model mlx-community/Meta-Llama-3-8B-Instruct-4bit-DWQ"))
    assert dwq.low_bytes == dwq.high_bytes


@pytest.mark.parametrize(
    "program",
    [
        "mlx_lm.generate --prompt hi",
        "mlx_lm.chat",
        "python -m mlx_lm generate --prompt hi",
        "python3 -m mlx_lm.chat",
        "mlx_vlm.generate --prompt hi",
        "mlx_vlm.chat",
    ],
)
def test_a_conversation_without_a_server_is_judged(program):
    """What most people on a Mac type first; it was said to start no server."""
    model = "--model mlx-community/Qwen3-8B-4bit"
    alone = checked(f"{program} {model}")
    assert alone.starts
    assert not [line for line in alone.lines if line.key == "prompt_cache"]
    assert [warning.code for warning in alone.warnings] == ["mlx-unbounded"]
    bounded = checked(f"{program} {model} --max-kv-size 8192")
    assert (bounded.context, bounded.warnings) == (8192, ())
    own = checked(f"{program} --model mlx-community/Qwen3.5-9B-4bit --max-kv-size 8192")  # a hybrid's class makes its own caches, which nothing cuts
    assert own.context > 8192
    assert "no flag bounds it" in own.warnings[0].message
    assert alone.longest_context > checked(f"mlx_lm.server {model}").longest_context
    assert [problem.code for problem in checked(f"{program} {model} --port 8080").problems] == ["unknown-flag"]


def test_mlx_vlm_generate_is_judged_with_its_images():
    """What mlx-vlm's readme shows first; --image takes several words, --size-like switches have a --no- of their own."""
    command = "python -m mlx_vlm.generate --model mlx-community/Qwen3-VL-8B-Instruct-4bit --max-tokens 100 --image a.png b.png --prompt 'What is this?'"
    plan = checked(command)
    assert (plan.verdict, plan.problems, plan.users) == (Verdict.STARTS, (), 1)
    assert [warning.code for warning in plan.warnings] == ["mlx-unbounded"]
    assert plan.memory["weights_bytes"] == weights_bytes(find_plain("qwen3-vl-8b").spec, read_format("4bit"))  # with its tower
    step = dict(checked(f"{command} --prefill-step-size 512").settings)["prefill_step_size"]
    assert (step, dict(plan.settings)["prefill_step_size"]) == (512, 2048)
    gemma = checked("mlx_vlm.generate --model mlx-community/gemma-3-4b-it-4bit --max-kv-size 8192")
    assert gemma.context > 8192
