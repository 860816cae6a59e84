"""What somebody who runs llama.cpp or Ollama should know: layers on the CPU, defaults that surprise, what fails for agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.engines.host import LITTLE_LEFT, main_memory_bytes, unchecked
from planner.engines.llamacpp import ollama
from planner.engines.llamacpp.ask import GgufAsk
from planner.engines.llamacpp.dynamic import name_of
from planner.engines.llamacpp.ledger import LlamaCppLedger, free_bytes, ledger
from planner.engines.llamacpp.memory import LlamaCppConfig
from planner.engines.llamacpp.ram import narrow
from planner.engines.llamacpp.scheduler import Loaded, never_together
from planner.engines.llamacpp.service import projector_of
from planner.facts.hardware import GpuGroup
from planner.facts.plan import Plan
from planner.facts.verdict import Verdict, Warn
from planner.units import gib, tokens


def warnings(ask: GgufAsk, config: LlamaCppConfig, held: LlamaCppLedger, plan: Plan) -> tuple[Warn, ...]:
    """All warnings of a plan, the gravest first."""
    warns = outside(held, plan, is_ollama=ask.is_ollama, by_hand=ask.gpu_layers is not None)
    if few := narrow(plan):
        warns.append(Warn(code=LITTLE_LEFT, message=few))
    elif plan.verdict is Verdict.TIGHT:
        warns.append(Warn(code="tight", message="less than 1 GiB would be left: llama.cpp's own fit moves layers to the CPU unless they are pinned"))
    if ask.is_ollama:
        warns += _ollama_warnings(ask, config)
    if not ask.model.pooling:
        warns.append(_agent_warning(ask))
    if config.drafter and config.drafter.is_head and not ask.model.predicting_bytes:
        told = "a file without the layers that predict is refused: take one that has them (its name often says MTP), as this one is not known to"
        warns.append(Warn(code="mtp-file", message=told))
    if name_of(ask.model.mix) and not ask.hub and not ask.tag:
        warns.append(_not_made(ask, projector_of(ask, config)))
    if not ask.model.exact:
        warns.append(
            Warn(code="mix-estimate", message="the mix of this architecture's own tensors is not llama.cpp's to the byte; a GGUF file's header is exact")
        )
    if config.context > 8192 and config.flash_attention is False:
        warns.append(Warn(code="no-flash-attention", message="without flash attention the compute buffer grows with the context"))
    return tuple(warns)


def _not_made(ask: GgufAsk, beside: str) -> Warn:
    """A mix that nobody but its makers can make, of a model whose file is not known to be published."""
    told = (
        f"no published {ask.model.mix} of this model is known here, and llama-quantize does not make that mix: get the file, and lay it there as {ask.source}"
    )
    return Warn(code="mix-not-made", message=told + (f", its vision projector as {beside}" if beside else ""))


def outside(held: LlamaCppLedger, plan: Plan, *, is_ollama: bool, by_hand: bool = False) -> list[Warn]:
    """What of a server lies in main memory, and whether that was checked. `by_hand`: the number of layers is said, or a build's default."""
    if held.is_whole or not plan.starts:
        return []
    up_to = f"all is on the GPU up to {tokens(plan.longest_context)} tokens" if plan.longest_context else "no context keeps all on the GPU"
    if by_hand and not is_ollama and plan.longest_context:
        up_to = f"--n-gpu-layers {plan.layers} puts all on the GPU, up to {tokens(plan.longest_context)} tokens"
    if is_ollama:
        size, percent = ollama.listed(held)
        up_to += f"; `ollama ps` shows {size / 1e9:.0f} GB, {percent}%/{100 - percent}% CPU/GPU"
    if held.layers_on_gpu > held.layers:
        told = f"the experts of {held.placement.divided} of {held.layers} layers lie in main memory, {gib(plan.host_bytes)} with the token embeddings, and are read at its speed"
        warns = [Warn(code="experts-on-cpu", message=f"{told}; {up_to}")]
    else:
        told = f"{plan.layers - plan.layers_on_gpu} of {plan.layers} layers run on the CPU, {gib(plan.host_bytes)} in main memory, and at its speed"
        warns = [Warn(code="layers-on-cpu", message=f"{told}; {up_to}")]
    return warns + unchecked(plan.host_bytes, held.host_note, main_memory_bytes(plan.group, plan.used_bytes))


def _ollama_warnings(ask: GgufAsk, config: LlamaCppConfig) -> list[Warn]:
    warns = []
    by_default = ollama.default_context(ask.group.total_bytes * ask.group.count)
    if by_default != config.context and not ask.shares_process:
        warns.append(
            Warn(
                code="ollama-default-context",
                message=f"by itself Ollama would take {tokens(by_default)} tokens here (by the memory of all GPUs); the environment and the Modelfile set {tokens(config.context)}",
            )
        )
    predicted, real = ollama.predicted_bytes(ask.model, config), ledger(ask.model, replace(config, placement=None), ask.group, gpus=1).used_bytes
    if predicted < 0.8 * real or predicted > 1.25 * real:
        warns.append(Warn(code="ollama-prediction", message=f"Ollama predicts {gib(predicted)} where {gib(real)} are taken; it chooses GPUs by its own figure"))
    warns += ollama_drafts(config)
    if ask.made_from:
        warns.append(
            Warn(
                code="ollama-no-tag",
                message=f"neither Ollama's library nor the Hub is known to have this model so: setup.sh makes {ask.source} of {ask.made_from}",
            )
        )
    return warns


def ollama_drafts(config: LlamaCppConfig) -> list[Warn]:
    """That a model of Ollama's drafts for itself, and that its speed is said without."""
    told = f"Ollama drafts up to {config.drafted} tokens with this model's own predicting layers; tokens per second are said without, as what is accepted was not measured"
    return [Warn(code="ollama-drafts", message=told)] if config.drafted else []


def swaps(asks: Sequence[GgufAsk], plans: Sequence[Plan], machine: GpuGroup) -> list[Warn]:
    """What of several models of one Ollama it never keeps loaded together, by what it predicts of each."""
    models = [
        Loaded(
            name=ask.tag or ask.source,
            predicted_bytes=ollama.predicted_bytes(ask.model, LlamaCppConfig(context=plan.context, parallel=plan.users)),
            held_bytes=plan.held_bytes,
            gpus=len(plan.gpus),
            is_whole=plan.is_whole,
            is_pinned=ask.gpu_layers is not None and ask.gpu_layers <= ask.model.layer_count,
        )
        for ask, plan in zip(asks, plans, strict=True)
    ]
    return never_together(models, free=free_bytes(machine, machine.count), process_bytes=machine.process_bytes(1))


def _agent_warning(ask: GgufAsk) -> Warn:
    """What fails today when an agent sends assistant messages in a row, by how the model's prompt is made."""
    if ask.is_ollama and ollama.has_renderer(ask.model.architecture):
        return Warn(
            code="agent-turns", message="Ollama's own renderer of this model continues a trailing assistant message as a prefill (ollama model/renderers)"
        )
    llama = 'llama-server answers HTTP 400 "Cannot have 2 or more assistant messages at the end of the list" (tools/server/server-common.cpp)'
    if not ask.is_ollama:
        return Warn(code="agent-turns", message=f"an agent must not end with two assistant messages: {llama}")
    return Warn(
        code="agent-turns",
        message=f"assistant messages in a row: on Ollama's Go templates they are merged (template/template.go collate, ollama#10273); on Jinja templates {llama}, seen in NousResearch/hermes-agent#80265",
    )
