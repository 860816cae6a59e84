"""Cards under the names that people and drivers give them; a wrong name is never taken for another kind of card's."""

import pytest

from planner.catalogue.gpu_names import too_old
from planner.catalogue.load import find_card, find_gpu, gpu_rows
from planner.emit import emit_formats
from planner.engines import ENGINES
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for
from planner.questions.question import engine_of
from planner.units import GIB

NAMED = {  # what is typed, and the memory that the driver reports, in whole GiB
    "rtx3050": ("rtx3050", 8),
    "RTX 3060 Ti": ("rtx3060ti", 8),
    "rtx 3070": ("rtx3070", 8),
    "3080ti": ("rtx3080ti", 12),
    "rtx4060": ("rtx4060", 8),
    "4060ti": ("rtx4060ti", 16),
    "RTX 4060 Ti 16GB": ("rtx4060ti", 16),
    "rtx 4060 ti 8gb": ("rtx4060ti-8gb", 8),
    "4070 SUPER": ("rtx4070super", 12),
    "rtx5060": ("rtx5060", 8),
    "5070 ti": ("rtx5070ti", 16),
    "2080ti": ("rtx2080ti", 11),
    "GTX 1080 Ti": ("gtx1080ti", 11),
    "gtx1060 6gb": ("gtx1060", 6),
    "tesla p40": ("p40", 22),
    "P100": ("p100", 16),
    "rx7900xtx": ("rx7900xtx", 24),
    "Radeon 7900 XT": ("rx7900xt", 20),
    "AMD Radeon RX 9070 XT": ("rx9070xt", 16),
    "rx 9060 xt 16gb": ("rx9060xt", 16),
    "mi50 32gb": ("mi50-32gb", 32),
    "arc b580": ("arc-b580", 12),
    "Intel(R) Arc(TM) A770 Graphics": ("arc-a770", 16),
    "strix halo": ("strix-halo-128gb", 128),
    "ryzen ai max+ 395": ("strix-halo-128gb", 128),
    "radeon 890m": ("radeon-890m-32gb", 32),
    "Radeon 780M": ("radeon-780m-32gb", 32),
    "jetson orin nano": ("jetson-orin-nano", 8),
    "jetson agx orin": ("jetson-agx-orin-64gb", 64),
    "jetson thor": ("jetson-thor", 128),
    "NVIDIA GeForce RTX 4090 Laptop GPU": ("rtx4090-laptop", 16),
    "4070 mobile": ("rtx4070-laptop", 8),
    "rtx 3090 24gb": ("rtx3090", 24),
    "rtx 4000 ada": ("rtx4000ada", 20),
    "quadro rtx 8000": ("quadro-rtx8000", 48),
    "h20 141gb": ("h20-141gb", 140),
    "w6800": ("w6800", 32),
    "Intel(R) Arc(TM) Pro B70 Graphics": ("arc-pro-b70", 32),
    "MacBook Pro M4 Max 64GB": ("apple-m4-max-64gb", 64),
    "mac-studio-m3-ultra-512gb": ("apple-m3-ultra-512gb", 512),
    "MacBook Pro 16-inch Apple M1 Pro 32GB": ("apple-m1-pro-32gb", 32),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_card_answers_to_what_people_call_it(name):
    meant, gib = NAMED[name]
    found = find_gpu(name)
    assert (found.name, round(found.memory_bytes / GIB)) == (meant, gib)


@pytest.mark.parametrize(("name", "gib", "meant"), [("NVIDIA GeForce RTX 4060 Ti", 8, "rtx4060ti-8gb"), ("NVIDIA GeForce RTX 4060 Ti", 16, "rtx4060ti")])
def test_a_drivers_name_of_two_sizes_is_told_apart_by_memory(name, gib, meant):
    assert find_card(name, gib * GIB).name == meant


def test_a_memory_that_a_card_does_not_have_is_refused_with_those_that_there_are():
    with pytest.raises(PlannerError, match="GeForce RTX 4060 Ti has no 12 GB") as caught:
        find_gpu("4060 ti 12gb")
    assert caught.value.hint == "known: rtx4060ti (16 GB), rtx4060ti-8gb (8 GB)"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("2xrtx4090", "how many there are is --count's: --gpu rtx4090 --count 2"),
        ("4x H100", "how many there are is --count's: --gpu h100 --count 4"),
        ("rtx 3090 x2", "how many there are is --count's: --gpu rtx3090 --count 2"),
        ("mac", "a Mac is named by its chip and its memory, e.g. m4-max-64gb"),
        ("Mac Studio", "a Mac is named by its chip and its memory, e.g. m4-max-64gb"),
        ("b60", "did you mean arc-pro-b60?"),
        ("m9-ultra-64gb", "`plan list gpus` names all"),
        ("0xrtx4090", "`plan list gpus` names all"),
        pytest.param(f"a{' ' * 1_000_000}b", "`plan list gpus` names all", id="blanks"),  # hours, where each run of them is tried in every way
    ],
)
def test_what_is_no_name_is_told_what_to_type(name, hint):
    with pytest.raises(PlannerError, match="is not in the catalogue") as caught:
        find_gpu(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize("row", [row for row in gpu_rows() if not row.memory_options_gb][::4], ids=lambda row: row.name)
def test_a_slip_of_the_pen_never_suggests_another_makers_or_another_kind_of_card(row):
    """Each name with its last digit another, a letter doubled, and one behind it."""
    known = {other.name: other for other in gpu_rows()}
    for slip in (f"{row.name}x", row.name[:-1], row.name.replace("0", "00", 1), row.name.replace("0", "1", 1)):
        try:
            find_gpu(slip)
        except PlannerError as error:
            meant = error.hint.removeprefix("did you mean ").rstrip("?").split(", ") if error.hint.startswith("did you mean") else []
            assert all((known[name].vendor, known[name].mobile) == (row.vendor, row.mobile) for name in meant), (slip, meant)


@pytest.mark.parametrize(
    ("gpu", "says"),
    [("gtx1080ti", "compute capability 7.0; this has 6.1"), ("rx6800xt", "this is gfx1030"), ("mi50", "this is gfx906"), ("arc-b580", "build of its own")],
)
def test_a_card_that_no_release_holds_kernels_for_is_refused_with_what_serves_it(gpu, says):
    service = ServiceRow(model="qwen3-8b", context=8192)
    first, *_ = ENGINES
    with pytest.raises(PlannerError, match=says) as caught:
        answer_for(StackRow(gpu=gpu, engine=first, services=[service]))
    assert caught.value.hint == "--engine ollama or llama.cpp"
    for engine in ("ollama", "llama.cpp"):
        assert answer_for(StackRow(gpu=gpu, engine=engine, services=[service])).main.starts


def test_the_name_of_a_family_is_answered_with_its_cards():
    with pytest.raises(PlannerError) as caught:
        find_gpu("jetson")
    jetsons = [row.name for row in gpu_rows() if row.name.startswith("jetson")]
    assert len(jetsons) > 1
    assert all(name in caught.value.hint for name in jetsons)


@pytest.mark.parametrize(
    "name", ["k80", "Tesla K80", "NVIDIA Tesla K40c", "k20x", "tesla k80 24gb", "Quadro K4200", "GTX 780 Ti", "GeForce GTX 680", "titan black"]
)
def test_a_card_that_no_engine_is_built_for_is_refused_with_the_reason(name):
    with pytest.raises(PlannerError, match=r"compute capability 3: .* below 5\.0") as caught:
        find_gpu(name)
    assert "--gpu custom --vram 12GiB --total-gib 11.17 --bandwidth 240 --compute-capability 3.7" in caught.value.hint


@pytest.mark.parametrize("name", ["k2200", "quadro k620", "gtx 750 ti", "titan x", "k8000", "gtx 1080"])
def test_later_cards_are_not_taken_for_them(name):
    assert too_old(name) is None


def test_every_card_has_an_engine_that_is_meant_and_one_that_serves_it():
    for row in gpu_rows():
        assert engine_of(None, row.spec()) in ENGINES
        assert not ENGINES["llama.cpp"].refuses(row.spec())


def test_a_container_on_intels_gpus_gets_their_device():
    found = answer_for(StackRow(gpu="arc-b580", services=[ServiceRow(model="qwen3-8b", context=8192)]))
    text, *_ = (text for name, text in emit_formats(found.deployment, ["compose"]).items() if name.startswith("compose"))
    assert "/dev/dri" in text
    assert "nvidia" not in text
