"""Several models of one Ollama: what its scheduler keeps loaded together, what it swaps, and for how long a model stays."""

import pytest

from planner.engines.llamacpp.scheduler import Loaded, keep_alive_s, never_together, remarks
from planner.facts.question import ServiceRow, StackRow
from planner.questions.check import check, find_server, group_for
from planner.questions.plan import answer_for
from planner.units import GIB


def checked(text, card="rtx4090", count=1, number=None):
    command = find_server(text, number)
    return check(command, group_for(command, card, count, "server"))


def told(plan, code):
    return [warning.message for warning in plan.warnings if warning.code == code]


def script(*models, env="OLLAMA_CONTEXT_LENGTH=8192"):
    return "\n".join([f"{env} ollama serve &", *(f"ollama run {model}" for model in models)])


def test_two_that_fit_stay_loaded_and_their_bytes_are_added():
    text = script("qwen3:8b", "nomic-embed-text")
    first, second = (checked(text, number=number) for number in (1, 2))
    (message,) = told(first, "loaded-together")
    used = first.held_bytes + second.held_bytes + first.group.process_bytes(1)  # each is a process of its own
    assert f"{used / GIB:.2f} GiB of {first.available_bytes / GIB:.2f} GiB" in message
    assert "nomic-embed-text" in message
    assert "5 minutes" in message
    assert not told(first, "models-swapped")


def test_two_that_do_not_fit_together_are_swapped_and_neither_fails():
    text = script("qwen3:14b", "gemma3:27b")
    for number in (1, 2):
        plan = checked(text, number=number)
        assert plan.verdict == "starts"
        (message,) = told(plan, "models-swapped")
        assert "unloads" in message
        assert "none fails" in message
        assert not told(plan, "loaded-together")


def test_a_small_one_may_come_beside_a_large_one_but_not_the_other_way_round():
    large, small = (Loaded(name=name, predicted_bytes=size * GIB, held_bytes=size * GIB, gpus=1, is_whole=True) for name, size in (("large", 15), ("small", 2)))
    (warning,) = remarks(large, (small,), free=(20 * GIB,), env={})
    assert warning.code == "models-swapped"
    assert "asked for large" in warning.message
    assert "small is then loaded beside" in warning.message
    assert remarks(large, (small,), free=(20 * GIB, 20 * GIB), env={})[0].code == "loaded-together"


def test_fewer_models_than_are_asked_for_are_swapped():
    plan = checked(script("qwen3:8b", "nomic-embed-text", env="OLLAMA_MAX_LOADED_MODELS=1 OLLAMA_CONTEXT_LENGTH=8192"), number=1)
    assert "OLLAMA_MAX_LOADED_MODELS=1" in told(plan, "models-swapped")[0]
    four = tuple(Loaded(name=f"m{number}", predicted_bytes=GIB, held_bytes=GIB, gpus=1, is_whole=True) for number in range(4))
    assert "3 models at once" in remarks(four[0], four[1:], free=(20 * GIB,), env={})[0].message
    assert remarks(four[0], four[1:], free=(20 * GIB, 20 * GIB), env={})[0].code == "loaded-together"


def test_what_is_larger_than_predicted_leaves_the_gpu_beside_others():
    first, second = (Loaded(name=name, predicted_bytes=7 * GIB, held_bytes=11 * GIB, gpus=1, is_whole=True) for name in "ab")
    (warning,) = remarks(first, (second,), free=(20 * GIB,), env={})
    assert "layers on the CPU" in warning.message


def test_one_model_nobody_knows_is_said():
    assert "other:9b" in told(checked(script("qwen3:8b", "other:9b"), number=1), "not-counted")[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 300), ("10m", 600), ("1h30m", 5400), ("3600", 3600), ("-1", -1), ("-1m", -60), ("0", 0), ("1.5h", 5400), ("'24h'", 86_400), ("500ms", 0.5)],
)
def test_the_time_a_model_stays_is_read_as_go_reads_it(text, seconds):
    assert keep_alive_s(text) == seconds


@pytest.mark.parametrize("text", ["forever", "5 minutes", "1d", "--1", "m"])
def test_what_go_cannot_read_is_the_default_and_told(text):
    assert keep_alive_s(text) is None
    plan = checked(script("qwen3:8b", env=f'OLLAMA_KEEP_ALIVE="{text}"'))
    assert "5 minutes" in told(plan, "bad-variable")[0]


@pytest.mark.parametrize(
    ("value", "says"), [("-1", "only where another model needs its room"), ("0", "each request loads it anew"), ("10m", "after 10 minutes without")]
)
def test_unloading_when_idle_is_told(value, says):
    assert says in told(checked(script("qwen3:8b", env=f"OLLAMA_KEEP_ALIVE={value}")), "keep-alive")[0]


def test_models_that_are_unloaded_at_once_never_lie_together():
    plan = checked(script("qwen3:8b", "nomic-embed-text", env="OLLAMA_KEEP_ALIVE=0"), number=1)
    assert not told(plan, "loaded-together")
    assert not told(plan, "models-swapped")


def test_a_plan_whose_models_ollama_would_swap_says_so():
    apart = answer_for(_question("qwen3:8b", "qwen3:14b", gpu="rtx3060", context=16_384))
    assert any("in no order" in warning.message for warning in apart.warnings)
    beside = answer_for(_question("qwen3:8b", "nomic-embed-text", gpu="rtx4090", context=16_384))
    assert not any(warning.code == "models-swapped" for warning in beside.warnings)


def test_layers_that_are_asked_for_by_hand_unload_nobody():
    models = [Loaded(name=name, predicted_bytes=15 * GIB, held_bytes=9 * GIB, gpus=1, is_whole=False, is_pinned=name == "b") for name in "ab"]
    assert not never_together(models, free=(20 * GIB,))
    assert never_together([models[0], models[0]], free=(20 * GIB,))


def _question(*models, gpu, context):
    services = [ServiceRow(model=models[0], context=context), *(ServiceRow(model=model) for model in models[1:])]
    return StackRow(gpu=gpu, engine="ollama", services=services)
