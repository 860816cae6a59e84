"""What to type instead: of a word that is no command, of an option that the question does not use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import TYPE_CHECKING

from planner.cli.command import typed, words
from planner.engines import ENGINES, first_engine
from planner.errors import PlannerError
from planner.facts.command_line import flag_of
from planner.facts.question import ServiceRow, StackRow
from planner.questions.fields import OF_SOME

if TYPE_CHECKING:
    import click

    from planner.cli.values import PlanValues


def no_command(given: list[str], known: list[str]) -> PlannerError:
    """The error for a word that is no command: the nearest command, or the option that a GPU's or a model's name needs."""
    import difflib

    word = given[0]
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if near:
        return PlannerError(f"no command {word[:60]!r}", f"did you mean plan {near[0]}?")
    options: dict[str, str] = {}
    for argument in given:
        if (kind := _kind(argument)) and kind not in options:
            options[kind] = argument
    if options:
        what = "a GPU" if "gpu" in options else "a model"
        return PlannerError(f"{word[:60]!r} is no command", f"{what} is named by {' and '.join(f'--{kind}' for kind in options)}: {words(options)}")
    return PlannerError(f"no command {word[:60]!r}", f"the commands are {', '.join(known)}; plan --help says more")


# What is typed for an option of ours by who knows it from another program.
_CALLED = {
    **dict.fromkeys(("--num-gpus", "--n-gpus", "--gpu-count", "--num-gpu", "--number"), "--count"),
    **dict.fromkeys(("--ctx", "--ctx-size", "--num-ctx", "--context-length", "--context-size", "--max-context"), "--context"),
    **dict.fromkeys(("--max-tokens", "--max-new-tokens", "--num-predict", "--n-predict"), "--output-tokens"),
    **dict.fromkeys(("--prompt", "--prompt-tokens", "--input-tokens", "--isl"), "--input"),
    "--osl": "--output-tokens",
    "--memory": "--ram, --vram",
    "--out": "--output",
}


def no_option(error: click.NoSuchOption) -> PlannerError:
    """The error for an option that the command does not have: where vLLM's own are read, the nearest ones, or its help."""
    from planner.engines.vllm.flags import known_flags

    flag, command = error.option_name, error.ctx.command_path if error.ctx else "plan"
    vllm_s = known_flags().get(flag.replace("_", "-"))
    ours = {name for param in error.ctx.command.params for name in param.opts} if error.ctx else set()
    begun = sorted(name for name in ours if len(flag) > 3 and name.startswith(flag))
    called = [name for name in _CALLED.get(flag.replace("_", "-"), "").split(", ") if name in ours]
    near = called or begun or error.possibilities or []
    if command == "plan check" and (vllm_s or not near):
        return PlannerError(
            f"{command} itself has no option {flag}", f"the command stands in quotes, or behind --: plan check --gpu rtx4090 -- {first_engine().example}"
        )
    if vllm_s and vllm_s not in near:
        return PlannerError(
            f"{command} has no option {flag}: it is {first_engine().title}'s",
            f"plan check '{first_engine().example.removesuffix('…')}{vllm_s} …' says what a command with it does",
        )
    hint = f"did you mean {', '.join(near)}?" if near else f"{command} --help lists the options"
    return PlannerError(f"{command} has no option {flag}", hint)


def _kind(word: str) -> str | None:
    """Which option a word is the value of, where it is one."""
    from planner.catalogue.load import find_gpu, find_model

    if word.startswith("-"):
        return None
    try:
        find_gpu(word)
    except PlannerError:
        return "model" if find_model(word) or word.count("/") == 1 else None
    return "gpu"


_ANSWER = frozenset({"style", "as_json", "quiet", "own_gpus", "own_models"})
_MODELS = _ANSWER | {"gpu", "count", "host_kind", "context", "users", "purpose", "min_speed", "top", "vllm_version", "engine", "ram"}
_MACHINES = _ANSWER | {"gpu", "model", "context", "users", "quantization", "prices", "min_speed", "top"}  # --gpu any
_IN_FILE = frozenset(
    {
        "beside",
        "nodes",
        "engine",
        "ram",
        "vram",
        "bandwidth",
        "compute_capability",
        "vendor",
        "total_gib",
        "free_gib",
        "gpu_layers",
        "wired_limit_mb",
        "bind",
        "proxy_port",
        "input",
        "output_tokens",
        "concurrency",
        "acceptance_length",
    }
    | {setting.name for setting in OF_SOME}
)
_CHOOSING = frozenset({"purpose", "min_speed", "top", "prices"})


def refuse_unused(values: PlanValues, question: Collection[str]) -> None:
    """Refuse, by its name, an option that was typed and that the question asked does not use; `question` are the names of those about GPUs and a model."""
    names = typed()
    gpu, model = values.gpu, values.model
    for name, value, example in (("gpu", gpu, "rtx4090"), ("model", model, "qwen3-8b")):
        if value == "":
            raise PlannerError(f"--{name} is missing", f"try: {words({name: example})}")
    if values.stack_file is not None:
        unused = [name for name in names if name in _IN_FILE | _CHOOSING or name in question]
        why, hint = "is not read beside -f FILE, which holds the whole question", "leave it out, or change the file"
    elif gpu and not model:
        unused = [name for name in names if name not in _MODELS]
        why, hint = "is about one model, and none is named", f"{words({'model': 'NAME'})}; without it the models are listed"
    elif model and not gpu:
        unused = [name for name in names if name not in _MACHINES]
        why, hint = "is about one kind of GPU, and none is named", f"{words({'gpu': 'NAME'})}; without it the machines are listed"
    elif not gpu:
        missing = {"model": "qwen3-vl-32b-awq"} if "model" not in names else {}
        raise PlannerError("--gpu is missing", f"try: {words({'gpu': 'rtx4090', **missing})}")
    else:
        unused = [name for name in names if name in _CHOOSING]
        why, hint = "is for choosing, and GPU and model are both named", f"leave it out: {words(dict.fromkeys(unused))}"
        if not unused:
            unused, why = _not_of_runtime(gpu, values, names)
            hint = f"leave it out: {words(dict.fromkeys(unused))}"
    if not unused:
        unused, why = _about_no_file(values, names)
        hint = f"leave it out: {words(dict.fromkeys(unused))}"
    if unused:
        raise PlannerError(f"{flag_of(unused[0])} {why}", hint)


def _not_of_runtime(named: str, values: PlanValues, names: Collection[str]) -> tuple[list[str], str]:
    """What another runtime or a Mac does not have; what the ledgers themselves refuse is left to them."""
    from planner.questions.machine import gpus_of
    from planner.questions.plan import FOR_ALL
    from planner.questions.question import engine_of

    gpu, *_ = gpus_of(named, values)
    is_mac, engine = gpu.vendor == "apple", engine_of(values.engine, gpu)
    if is_mac and "host_kind" in names:
        return ["host_kind"], "is about machines with NVIDIA or AMD GPUs; a Mac is one kind"
    mine = ENGINES[engine]
    for_all = FOR_ALL - {f"{key}_version" for key in ENGINES}  # a release is one engine's
    questioned = {item.name for row in (StackRow, ServiceRow) for item in fields(row)} - for_all - {*mine.own_settings, f"{engine}_version"}
    foreign = [name for name in names if name in questioned]  # other engines are imported where there is one
    for name in foreign:  # typed, maybe as by default
        if owners := [other.title for key, other in ENGINES.items() if name in (*other.own_settings, f"{key}_version")]:
            own = f"{engine}_version"
            is_release = name.endswith("_version") and own in {item.name for item in fields(StackRow)}
            theirs = f"{mine.title}'s is {flag_of(own)}" if is_release else f"{mine.title} has no such setting"
            return [name], "is " + " and ".join(f"{title}'s" for title in owners) + f"; {theirs}"
    return [], ""


def _about_no_file(values: PlanValues, names: Collection[str]) -> tuple[list[str], str]:
    """What is about files where none is written."""
    if values.dry_run and (unused := [name for name in names if name in ("output", "to")]):
        return unused, "is about the plan's files, and --dry-run writes none"
    writes = not values.dry_run and (values.style != "json" or values.output)
    if "force" in names and not writes and not (values.html or values.svg):
        return ["force"], "is about files that are there, and none is written"
    return [], ""
