"""Which words of `vllm serve` let agents call a model's tools, by release: parsers.json holds the names in vLLM's registries (benchmarks/parsers.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from planner.engines.vllm.versions import VERSIONS
from planner.errors import did_you_mean
from planner.facts.model import ChatFormat

if TYPE_CHECKING:
    from planner.engines.vllm.flag_rules import FlagFault

Registry = Literal["tool_parsers", "reasoning_parsers", "tokenizer_modes"]
_FLAGS: tuple[tuple[str, Registry, str], ...] = (
    ("--tool-call-parser", "tool_parsers", "--tool-parser-plugin"),
    ("--reasoning-parser", "reasoning_parsers", "--reasoning-parser-plugin"),
)
EXAMPLES = "https://github.com/vllm-project/vllm/blob/v{version}.0/examples/"

_QWEN3_5 = ChatFormat(tool_parser="qwen3_coder", reasoning_parser="qwen3")
_GEMMA_4 = ChatFormat(tool_parser="gemma4", reasoning_parser="gemma4", example_template="tool_chat_template_gemma4.jinja")
# Architectures of one line of models with one chat template: a checkpoint that the catalogue does not have writes as they do. Others are not guessed:
# Llama's and Mistral's classes hold models of many makers, Qwen 3's hold models that reason and models that do not.
BY_ARCHITECTURE = {
    "DeepseekV32ForCausalLM": ChatFormat(tool_parser="deepseek_v32", reasoning_parser="deepseek_v3", tokenizer_mode="deepseek_v32"),
    "DeepseekV4ForCausalLM": ChatFormat(tool_parser="deepseek_v4", reasoning_parser="deepseek_v4", tokenizer_mode="deepseek_v4"),
    "Gemma4ForConditionalGeneration": _GEMMA_4,
    "Gemma4UnifiedForConditionalGeneration": _GEMMA_4,
    "GptOssForCausalLM": ChatFormat(tool_parser="openai", reasoning_parser="openai_gptoss"),
    "GraniteMoeHybridForCausalLM": ChatFormat(tool_parser="granite4"),
    "KimiK25ForConditionalGeneration": ChatFormat(tool_parser="kimi_k2", reasoning_parser="kimi_k2", remote_code=True),
    "KimiK3ForConditionalGeneration": ChatFormat(tool_parser="kimi_k3", reasoning_parser="kimi_k3"),
    "Llama4ForConditionalGeneration": ChatFormat(tool_parser="llama4_pythonic", example_template="tool_chat_template_llama4_pythonic.jinja"),
    "MiniMaxM2ForCausalLM": ChatFormat(tool_parser="minimax_m2", reasoning_parser="minimax_m2"),
    "Qwen3_5ForConditionalGeneration": _QWEN3_5,
    "Qwen3_5MoeForConditionalGeneration": _QWEN3_5,
    "SeedOssForCausalLM": ChatFormat(tool_parser="seed_oss", reasoning_parser="seed_oss"),
}


@cache
def _registries() -> dict[Registry, dict[str, dict[str, str]]]:
    loaded: dict[Registry, dict[str, dict[str, str]]] = json.loads(Path(__file__).with_name("parsers.json").read_text("utf-8"))["registries"]
    return loaded


def known_names(registry: Registry, version: str) -> tuple[str, ...]:
    """The names that a release's registry holds."""
    return tuple(name for name in _registries()[registry] if knows(registry, name, version))


def knows(registry: Registry, name: str, version: str) -> bool:
    """Whether a release's registry holds a name."""
    entry = _registries()[registry].get(name)
    if entry is None:
        return False
    order = list(VERSIONS)
    first, last = entry.get("since", order[0]), entry.get("last", order[-1])
    return order.index(first) <= order.index(version) <= order.index(last)


def by_architecture(architectures: object) -> ChatFormat | None:
    """How a checkpoint that nobody looked up writes, where the `architectures` of its config.json leave no doubt."""
    named = [name for name in architectures if isinstance(name, str)] if isinstance(architectures, list) else []
    return next((BY_ARCHITECTURE[name] for name in named if name in BY_ARCHITECTURE), None)


def tool_parser(chat: ChatFormat | None, version: str) -> str | None:
    """The tool parser that the command names; None where the model has none, or this release does not know it."""
    return chat.tool_parser if chat and chat.tool_parser and knows("tool_parsers", chat.tool_parser, version) else None


def reasoning_parser(chat: ChatFormat | None, version: str) -> str | None:
    """The reasoning parser that the command names; None where the model has none, or this release does not know it."""
    return chat.reasoning_parser if chat and chat.reasoning_parser and knows("reasoning_parsers", chat.reasoning_parser, version) else None


def chat_words(chat: ChatFormat, version: str) -> list[str]:
    """The flags that let agents call tools and read the reasoning apart from the answer; nothing that this release does not know."""
    words = ["--trust-remote-code"] if chat.remote_code else []
    if chat.mistral_files:
        words += ["--tokenizer-mode", "mistral", "--config-format", "mistral", "--load-format", "mistral"]
    elif chat.tokenizer_mode and knows("tokenizer_modes", chat.tokenizer_mode, version):
        words += ["--tokenizer-mode", chat.tokenizer_mode]
    if chat.content_format:
        words += ["--chat-template-content-format", chat.content_format]
    if name := tool_parser(chat, version):
        words += ["--enable-auto-tool-choice", "--tool-call-parser", name]
    if name := reasoning_parser(chat, version):
        words += ["--reasoning-parser", name]
    return words


def chat_remarks(chat: ChatFormat | None, version: str) -> Iterator[tuple[str, str]]:
    """Code and message of what an agent's user should know about the flags of `chat_words`, and what is missing among them."""
    if chat is None:
        yield (
            "tool-parser-unknown",
            "which parser reads this model's tool calls is not known here: add --enable-auto-tool-choice --tool-call-parser NAME "
            "(and --reasoning-parser NAME where it reasons) from its model card; without them vLLM refuses a request with tools (HTTP 400)",
        )
        return
    if chat.remote_code:
        yield (
            "remote-code",
            "the repository brings Python code that reads its tokenizer or its configuration: --trust-remote-code runs it; read it first, or serve a pinned --revision",
        )
    if chat.tool_parser is None:
        yield "no-tool-calls", f"vLLM {version} has no parser for tool calls of this model: it refuses a request with tools (HTTP 400)"
    elif not knows("tool_parsers", chat.tool_parser, version):
        yield _too_old("tool_parsers", chat.tool_parser, version, "it refuses a request with tools (HTTP 400)")
    elif chat.example_template:
        yield (
            "chat-template",
            f"vLLM's documentation serves this model's tool calls with {chat.example_template}, which no wheel holds: the checkpoint's own chat template is "
            f"used; where calls come out wrong, download {EXAMPLES.format(version=version)}{chat.example_template} and add --chat-template with its path",
        )
    if chat.reasoning_parser and not knows("reasoning_parsers", chat.reasoning_parser, version):
        yield _too_old("reasoning_parsers", chat.reasoning_parser, version, "the reasoning stays in the text of the answer")


# Names of one parser (one class in vLLM 0.33's registry, or one format that both read).
_SAME = ({"glm45", "glm47"}, {"qwen3_coder", "qwen3_xml"}, {"hermes", "qwen3_json"}, {"llama3_json", "llama4_json"})


def told_remarks(chat: ChatFormat | None, values: Mapping[str, str | bool], version: str) -> Iterator[tuple[str, str]]:
    """Code and message of what the flags of a given command mean for agents: what is missing, or is another model's."""
    for flag, registry, _ in _FLAGS:
        if (name := str(values.get(flag, ""))) and not knows(registry, name, version) and _soon(registry, name, version):
            yield "parser-missing", f"{flag} {name[:60]}: {version}.0 has no such parser, the release after it has; a patch release may have brought it"
    named, ours, thinks = str(values.get("--tool-call-parser", "")), tool_parser(chat, version), reasoning_parser(chat, version)
    if ours and not (named and values.get("--enable-auto-tool-choice")):
        yield "no-tool-calls", f"without --enable-auto-tool-choice --tool-call-parser {ours} vLLM refuses a request with tools (HTTP 400)"
    elif ours and named != ours and not any({named, ours} <= names for names in _SAME):
        yield "other-parser", f"--tool-call-parser {named[:60]}: this model writes its calls as {ours} reads them"
    elif not named:
        yield from chat_remarks(chat, version)
    if thinks and not values.get("--reasoning-parser"):
        yield "reasoning-parser-missing", f"without --reasoning-parser {thinks} the reasoning stays in the text of the answer"


def unknown_parsers(values: Mapping[str, str | bool], version: str) -> Iterator[FlagFault]:
    """The parsers that a command names and this release's registries do not hold; a plugin may bring any (entrypoints/common/cli_args.py:615)."""
    from planner.engines.vllm.flag_rules import FlagFault

    for flag, registry, plugin in _FLAGS:
        name = str(values.get(flag, ""))
        asked = registry == "reasoning_parsers" or values.get("--enable-auto-tool-choice")  # else vLLM never looks at the tool parser
        if not asked or not name or (flag == "--reasoning-parser" and name.lower() == "none") or values.get(plugin):
            continue
        if not knows(registry, name, version) and not _soon(registry, name, version):
            known = known_names(registry, version)
            since = _registries()[registry].get(name, {}).get("since")
            fix = f"vLLM {since} brought it" if since else did_you_mean(name, known) or f"known: {', '.join(known)}"
            yield FlagFault(flag, f"{flag} {name[:60]!r} is not in the registry of vLLM {version}", fix, value=True)


def _soon(registry: Registry, name: str, version: str) -> bool:
    """Whether the release after this one has the name: then a patch of this one may have brought it (kimi_k2 came with 0.11.1)."""
    since = _registries()[registry].get(name, {}).get("since")
    order = list(VERSIONS)
    return since is not None and 0 < order.index(since) - order.index(version) <= (2 if version == "0.14" else 1)  # 0.15 has no source distribution


def _too_old(registry: Registry, name: str, version: str, what_then: str) -> tuple[str, str]:
    """A parser that this release does not have (yet, or any more)."""
    entry = _registries()[registry].get(name, {})
    kind = "tool" if registry == "tool_parsers" else "reasoning"
    when = f"; vLLM {entry['since']} brought it" if "since" in entry else ""
    return f"{kind}-parser-missing", f"this model's {kind} parser, {name}, is not known to vLLM {version}{when}: {what_then}"
