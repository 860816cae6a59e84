"""Agents can call tools: every generated command of a chat model names its parsers, and vLLM's own registries know them."""

import json
import subprocess
from collections import defaultdict
from dataclasses import replace
from functools import cache

import pytest
from conftest import ROOT, run_plan
from hypothesis import given
from hypothesis import strategies as st
from test_oracle import ask, judge_python

from planner.catalogue import load
from planner.catalogue.resolve import find_source
from planner.emit import FORMATS, emit, emit_formats
from planner.engines.vllm.check import check
from planner.engines.vllm.choice import Request
from planner.engines.vllm.command import parse_argv, serve_argv
from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.parsers import BY_ARCHITECTURE, EXAMPLES, by_architecture, known_names, knows
from planner.engines.vllm.plan import Plan, plan_as_asked
from planner.engines.vllm.settings import Pins, ServeConfig
from planner.engines.vllm.versions import DEFAULT_VERSION, VERSIONS
from planner.errors import PlannerError
from planner.facts.hardware import GpuGroup
from planner.facts.model import ChatFormat
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for

ROWS = {row.name: row for row in load.model_rows()}
CALLERS = [name for name, row in ROWS.items() if row.tool_parser]
RECIPES = ROOT.parent / "shared" / "truth" / "vllm_recipes_commands.jsonl"
GROUP = GpuGroup(gpu=load.find_gpu("b300"), count=8)


def values(argv) -> dict[str, str | None]:
    """A command's flags with their values."""
    words = [part for word in argv for part in (word.replace("_", "-").split("=", 1) if word.startswith("--") else [word])]
    return {
        word: words[place + 1] if place + 1 < len(words) and not words[place + 1].startswith("--") else None
        for place, word in enumerate(words)
        if word.startswith("--")
    }


@cache
def planned(name: str, variant: str = "", version: str = "0.33") -> Plan:
    row = ROWS[name]
    chosen = next(each for each in row.variants if each.is_listed and (each.name == variant if variant else each.default))
    for count in (8, 4, 1):
        try:
            spec = row.spec(chosen)
            context = min(512, spec.max_position_embeddings)
            request = Request(model=spec, group=replace(GROUP, count=count), pins=Pins(vllm_version=version), context=context)
            return plan_as_asked(request, repo=chosen.repo, served_name=row.name)
        except PlannerError as error:
            fault = error
    raise fault


@pytest.mark.parametrize("name", CALLERS)
def test_the_command_of_every_model_that_can_call_tools_names_its_parser(name):
    flags = values(planned(name).argv)
    assert "--enable-auto-tool-choice" in flags
    assert flags["--tool-call-parser"] == ROWS[name].tool_parser
    assert flags.get("--reasoning-parser") == ROWS[name].reasoning_parser


# Lines whose repositories bring what loads them as code: the recipes of all that have one trust it; the classes of the others are their siblings'.
CODE = (
    *("intern-s", "internvl", "kimi-k2", "kimi-linear", "kimi-vl", "laguna", "ling-2.6", "ling-3.0"),
    *("mimo-v2.5", "nemotron-3-nano-omni", "nemotron-nano-12b-v2-vl"),
)


def test_a_tokenizer_that_is_code_is_run_and_said_to_be():
    """As vLLM's recipes do: without --trust-remote-code Kimi K2 has no tokenizer. By an agent's model only, never for one that does without."""
    for name in (name for name, row in ROWS.items() if row.kind != "embedding"):
        plan = planned(name)
        assert ("--trust-remote-code" in plan.argv) == name.startswith(CODE), name
        assert ("remote-code" in {warning.code for warning in plan.warnings}) == ("--trust-remote-code" in plan.argv)


CHAT_FLAGS = {"--enable-auto-tool-choice", "--tool-call-parser", "--reasoning-parser", "--tokenizer-mode", "--config-format", "--load-format"}


def test_embeddings_and_base_models_name_none():
    for row in ROWS.values():
        for variant in (each for each in row.variants if each.is_listed and (row.kind == "embedding" or each.name == "base")):
            assert not CHAT_FLAGS & set(values(planned(row.name, variant.name).argv)), (row.name, variant.name)


def test_a_thinking_checkpoint_of_a_row_that_does_not_think_has_its_own_parser():
    assert "--reasoning-parser" not in planned("qwen3-vl-32b").argv
    assert values(planned("qwen3-vl-32b", "thinking").argv)["--reasoning-parser"] == "qwen3"


def test_an_instruct_checkpoint_that_does_not_think_has_no_reasoning_parser():
    """Qwen's parser takes everything before </think> for reasoning: of an answer without it nothing would be left."""
    for name in ("qwen3-30b-a3b", "qwen3-235b-a22b", "qwen3-4b", "qwen3-next-80b-a3b", "qwen3-coder-30b-a3b"):
        assert "--reasoning-parser" not in planned(name).argv


def test_mistrals_own_files_are_named_where_its_recipes_do():
    flags = values(planned("ministral-3-14b", "fp8").argv)
    assert {flags[flag] for flag in ("--tokenizer-mode", "--config-format", "--load-format")} == {"mistral"}
    assert not {"--config-format", "--load-format"} & set(values(planned("ministral-3-14b", "awq").argv))  # someone else's: no consolidated weights


@pytest.mark.parametrize("version", [pytest.param(version, marks=() if version == DEFAULT_VERSION else pytest.mark.slow) for version in VERSIONS])
def test_no_release_is_given_a_name_that_it_does_not_know(version):
    for name in CALLERS:
        row = ROWS[name]
        try:
            plan = planned(name, version=version)
        except PlannerError:
            continue
        flags, said = values(plan.argv), {warning.code: warning.message for warning in plan.warnings}
        for flag, registry, parser, code in (
            ("--tool-call-parser", "tool_parsers", row.tool_parser, "tool-parser-missing"),
            ("--reasoning-parser", "reasoning_parsers", row.reasoning_parser, "reasoning-parser-missing"),
        ):
            if parser and knows(registry, parser, version):
                assert flags[flag] == parser
                assert code not in said
            elif parser:
                assert flag not in flags
                assert parser in said[code]
        assert ("--enable-auto-tool-choice" in flags) == ("--tool-call-parser" in flags)
        assert "--tokenizer-mode" not in flags or knows("tokenizer_modes", flags["--tokenizer-mode"], version)


def test_what_cannot_be_had_is_said():
    assert {warning.code for warning in planned("gemma-3-27b").warnings} >= {"no-tool-calls"}
    (template,) = (warning.message for warning in planned("llama-3.3-70b").warnings if warning.code == "chat-template")
    assert EXAMPLES.format(version="0.33") + "tool_chat_template_llama3.1_json.jinja" in template
    assert not any(word.endswith(".jinja") for name in CALLERS for word in planned(name).argv)  # no path that may not be there


def test_the_catalogue_names_only_what_the_newest_release_knows():
    for row in ROWS.values():
        assert row.tool_parser is None or row.tool_parser in known_names("tool_parsers", "0.33")
        for parser in (row.reasoning_parser, *(variant.reasoning_parser for variant in row.variants)):
            assert parser is None or parser in known_names("reasoning_parsers", "0.33")
        assert row.tokenizer_mode is None or row.tokenizer_mode in known_names("tokenizer_modes", "0.33")


def test_an_architecture_is_guessed_from_only_where_the_whole_catalogue_agrees():
    found = defaultdict(set)
    for row in ROWS.values():
        for variant in (each for each in row.variants if each.is_listed and each.name != "base" and not each.mistral_files):
            found[row.config["architectures"][0]].add(row.chat(variant))
    for architecture, chat in BY_ARCHITECTURE.items():
        assert found[architecture] == {chat}, architecture


def folder(tmp_path, **keys):
    (tmp_path / "m").mkdir()
    config = {**ROWS["qwen3-8b"].config, **keys}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    return str(tmp_path / "m")


def test_a_model_that_nobody_looked_up_is_told_which_flags_to_add(tmp_path):
    source = find_source(folder(tmp_path))
    plan = plan_as_asked(Request(model=source.spec, group=GROUP), repo=source.repo, served_name="m")
    assert not CHAT_FLAGS & set(plan.argv)
    (message,) = (warning.message for warning in plan.warnings if warning.code == "tool-parser-unknown")
    assert "--enable-auto-tool-choice --tool-call-parser" in message
    assert "--reasoning-parser" in message


def test_a_copy_of_a_model_with_one_line_of_its_own_is_known_by_its_architecture(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps(ROWS["gpt-oss-20b"].config))
    source = find_source(str(tmp_path / "m"))
    plan = plan_as_asked(Request(model=source.spec, group=GROUP), repo=source.repo, served_name="m")
    assert values(plan.argv)["--tool-call-parser"] == "openai"


@pytest.mark.parametrize("odd", [None, "GptOssForCausalLM", [], [None, 3], [["x"]], {"a": 1}])
def test_odd_architectures_are_no_guess(odd):
    assert by_architecture(odd) is None


PARSER = st.none() | st.sampled_from(known_names("tool_parsers", "0.33"))


@given(
    st.builds(
        ChatFormat,
        tool_parser=PARSER,
        reasoning_parser=st.none() | st.sampled_from(known_names("reasoning_parsers", "0.33")),
        tokenizer_mode=st.none() | st.sampled_from(known_names("tokenizer_modes", "0.33")),
        content_format=st.none() | st.sampled_from(["string", "openai"]),
        mistral_files=st.booleans(),
    ),
    st.builds(ServeConfig, max_model_len=st.integers(1, 10**7), enforce_eager=st.booleans()),
    st.booleans(),
)
def test_a_command_with_parsers_reads_back_to_its_settings(chat, config, pooling):
    argv = serve_argv("owner/name", "name", config, pooling=pooling, chat=chat)
    assert parse_argv(argv) == config
    assert not pooling or not CHAT_FLAGS & set(argv)


def test_every_format_carries_the_parsers():
    services = [ServiceRow(model="qwen3-8b", context=8192)]
    here = answer_for(StackRow(gpu="h100", services=services)).deployment
    two = answer_for(StackRow(gpu="h100", count=8, nodes=2, services=[ServiceRow(model="glm-4.7", context=8192)])).deployment
    for name in set(FORMATS) - {"launchd"}:  # macOS's: no server of vLLM
        deployment, parser = (two, "glm47") if name in ("lws", "nodes") else (here, "hermes")
        text = "\n".join(emit_formats(deployment, [name]).values())
        if name == "skypilot":  # runs stack.sh
            text = emit(here)["stack.sh"]
        dashed = text.replace("_", "-")
        assert "enable-auto-tool-choice" in dashed, name
        assert "tool-call-parser" in dashed, name
        assert parser in text, name
    for file in ("stack.sh", "serve.sh"):
        assert "--tool-call-parser hermes" in emit(here)[file].replace(" \\\n    ", " ")


# Where the catalogue knows more than a recipe's command: vLLM reads gpt-oss's reasoning whatever the flags; Seed-OSS reasons (its parser is vLLM's own);
# DeepSeek V3 does not; Qwen3-VL's and Llama's parsers are in docs/features/tool_calling.md, which their recipes leave out; nano_v3 is a plugin's name.
MORE = {
    "openai/gpt-oss-120b": {"--reasoning-parser"},
    "openai/gpt-oss-20b": {"--reasoning-parser"},
    "ByteDance-Seed/Seed-OSS-36B-Instruct": {"--reasoning-parser"},
    "deepseek-ai/DeepSeek-V3": {"--reasoning-parser"},
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": {"--reasoning-parser"},
    "nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16": {"--reasoning-parser"},
}


def test_the_catalogue_agrees_with_vllms_recipes():
    if not RECIPES.exists():
        pytest.skip("vLLM's recipes are not here")
    repos = {variant.repo: (row, variant) for row in ROWS.values() for variant in row.variants if variant.is_listed}
    compared = set()
    for line in RECIPES.read_text().splitlines():
        argv = json.loads(line)["argv"]
        flags = values(argv)
        if argv[2] not in repos or "--tool-call-parser" not in flags or "--tool-call-parser-plugin" in flags:  # the plugin's file is not ours to write
            continue
        row, variant = repos[argv[2]]
        ours = values(planned(row.name, variant.name).argv)
        for flag in {"--tool-call-parser", "--reasoning-parser", "--tokenizer-mode", "--config-format", "--chat-template-content-format"} - MORE.get(
            argv[2], set()
        ):
            assert ours.get(flag) == flags.get(flag) or (flag, flags.get(flag)) == ("--tokenizer-mode", "auto"), (argv[2], flag)
        assert "--trust-remote-code" in flags or "--trust-remote-code" not in ours, argv[2]  # no code is run that its makers do not run
        compared.add(argv[2])
    assert len(compared) >= 40


@pytest.mark.judge
def test_the_frozen_names_are_those_of_vllms_own_registries():
    done = subprocess.run(
        [judge_python(), "list_parsers.py"],
        cwd=ROOT / "tests" / "oracle",
        env={"PYTHONPATH": str(ROOT / "planner" / "engines" / "vllm" / "judge"), "PATH": "/usr/bin:/bin", "HOME": str(ROOT)},
        text=True,
        capture_output=True,
        check=False,
    )
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    assert {registry: sorted(known_names(registry, "0.33")) for registry in json.loads(line)} == json.loads(line)


@pytest.mark.judge
def test_vllm_takes_every_models_command_with_its_parsers():
    questions = [{"argv": list(planned(name, variant.name).argv)} for name in CALLERS for variant in ROWS[name].variants if variant.is_listed]
    answers = ask(GROUP.gpu, 8, questions)
    assert [(question["argv"][2], answer) for question, answer in zip(questions, answers, strict=True) if not answer["valid"]] == []


@pytest.mark.judge
@pytest.mark.parametrize(
    "words",
    [["--tool-call-parser", "hermez"], ["--tool-call-parser", "minimax"], ["--reasoning-parser", "granite5"], []],
    ids=["unknown", "gone", "reasoning", "none"],
)
def test_the_judge_refuses_what_vllm_refuses(words):
    (answer,) = ask(GROUP.gpu, 1, [{"argv": ["vllm", "serve", "x", "--enable-auto-tool-choice", *words]}])
    assert not answer["valid"]


def checked(command: str) -> dict:
    done = run_plan("check", command, "--gpu", "h100", "--format", "json", cwd=ROOT)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_check_gives_a_plan_back_with_its_parsers():
    plan = planned("qwen3-8b")
    values, positional, faults = parse_flags(plan.argv[2:], "0.33")
    with_parsers = check(values, faults, plan.model, plan.request.group, repo=plan.repo, argv=plan.argv, version="0.33")
    fewer = {flag: value for flag, value in values.items() if flag not in CHAT_FLAGS}
    without = check(fewer, (), plan.model, plan.request.group, repo=plan.repo, argv=plan.argv, version="0.33")
    assert (positional, faults, with_parsers.problems) == ([plan.repo], [], ())
    assert (with_parsers.config, with_parsers.plan.choice) == (without.config, without.plan.choice) == (plan.config, with_parsers.plan.choice)
    codes = {warning.code for warning in with_parsers.plan.warnings}
    assert not {"no-tool-calls", "reasoning-parser-missing", "other-parser", "chat-template"} & codes
    assert {"no-tool-calls", "reasoning-parser-missing"} <= {warning.code for warning in without.plan.warnings}


@pytest.mark.parametrize("name", CALLERS)
def test_check_finds_nothing_wrong_with_a_generated_command(name):
    plan = planned(name)
    values, _, faults = parse_flags(plan.argv[2:], "0.33")
    found = check(values, faults, plan.model, plan.request.group, repo=plan.repo, argv=plan.argv, version="0.33")
    wrong = [plan.rejection.reason] if plan.rejection else []  # one is too large for eight of any GPU
    assert (found.verdict, [problem.message for problem in found.problems], faults) == (plan.verdict, wrong, [])


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("--enable-auto-tool-choice --tool-call-parser hermes --reasoning-parser qwen3", set()),
        ("--enable-auto-tool-choice --tool-call-parser llama3_json --reasoning-parser qwen3", {"other-parser"}),
        ("--tool-call-parser hermes --reasoning-parser qwen3", {"no-tool-calls"}),
        ("--reasoning-parser deepseek_r1", {"no-tool-calls"}),
        ("", {"no-tool-calls", "reasoning-parser-missing"}),
    ],
)
def test_check_says_what_a_command_means_for_agents(words, codes):
    found = checked(f"vllm serve Qwen/Qwen3-8B --max-model-len 8192 {words}")
    assert {warning["code"] for warning in found["warnings"]} & {"other-parser", "no-tool-calls", "reasoning-parser-missing"} == codes
    assert found["problems"] == []


@pytest.mark.parametrize(
    ("words", "version", "message"),
    [
        ("--enable-auto-tool-choice --tool-call-parser hermez", "0.33", "did you mean hermes"),
        ("--enable-auto-tool-choice --tool-call-parser gemma4", "0.17", "vLLM 0.19 brought it"),
        ("--enable-auto-tool-choice --tool-call-parser minimax", "0.33", "not in the registry"),
        ("--reasoning-parser qwen33", "0.33", "did you mean qwen3"),
        ("--tool-call-parser hermez", "0.33", ""),  # never looked at
        ("--enable-auto-tool-choice --tool-call-parser mine --tool-parser-plugin mine.py", "0.33", ""),
        ("--reasoning-parser mine --reasoning-parser-plugin mine.py", "0.33", ""),
        ("--reasoning-parser None", "0.33", ""),
    ],
)
def test_a_parser_that_a_release_does_not_hold_is_refused_as_vllm_refuses_it(words, version, message):
    _, _, faults = parse_flags(["x", *words.split()], version)
    assert [message in f"{fault.message} {fault.fix}" for fault in faults] == ([True] if message else [])


@pytest.mark.judge
def test_the_judge_agrees_which_parser_names_are_taken():
    cases = ["--enable-auto-tool-choice --tool-call-parser hermez", "--reasoning-parser qwen33", "--tool-call-parser hermez", "--reasoning-parser None"]
    answers = ask(GROUP.gpu, 1, [{"argv": ["vllm", "serve", "x", *words.split()]} for words in cases])
    assert [answer["valid"] for answer in answers] == [not parse_flags(["x", *words.split()], "0.33")[2] for words in cases]


@pytest.mark.judge
@pytest.mark.parametrize("name", ["qwen3-8b", "deepseek-v3.2", "glm-5.1", "gpt-oss-20b"])
def test_vllms_engine_config_is_made_of_a_command_with_a_reasoning_parser(name):
    """The judge has no tokenizer, around which vLLM would build the parser."""
    (answer,) = ask(GROUP.gpu, 8, [{"config": ROWS[name].config, "argv": list(planned(name).argv)}])
    assert answer["valid"], answer
