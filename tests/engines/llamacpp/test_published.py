"""What is emitted runs as it stands: a file of the Hub is named there, another is made by setup.sh, which really runs here with stand-ins."""

import json
import subprocess

import pytest
from conftest import ROOT, run_plan

from planner import check
from planner.catalogue import resolve
from planner.emit import emit
from planner.engines.llamacpp.published import on_the_hub, original, usual_form
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for

PUBLISHED = json.loads((ROOT / "planner" / "engines" / "llamacpp" / "published.json").read_text())
ROWS, OTHERS = PUBLISHED["repositories"], PUBLISHED["others"]


def deployment(model: str, engine: str, **keys):
    return answer_for(StackRow(gpu="rtx3090", engine=engine, services=[ServiceRow(model=model, context=8192, **keys)])).deployment


def test_each_published_file_is_of_a_model_of_the_catalogue():
    for repo in ROWS:
        assert resolve.find_plain(repo).repo == repo
        assert original(ROWS[repo]["repo"]) == repo
        assert on_the_hub(repo, usual_form(repo)).startswith(ROWS[repo]["repo"])


def test_each_mix_of_others_is_of_a_model_of_the_catalogue():
    for repo, row in OTHERS.items():
        assert resolve.find_plain(repo).repo == repo
        assert original(row["repo"]) == repo
        assert [on_the_hub(repo, mix) for mix in row["forms"]] == [f"{row['repo']}:{mix}" for mix in row["forms"]]


def test_a_mix_of_others_is_taken_where_it_is_and_never_made():
    """llama-quantize has no UD mixes: what is not known to be published is told, not promised."""
    known = answer_for(StackRow(gpu="rtx3090", engine="llama.cpp", services=[ServiceRow(model="qwen3.6-27b", context=8192, quantization="UD-Q4_K_XL")]))
    assert known.main.service.argv[1:3] == ("--hf-repo", "unsloth/Qwen3.6-27B-GGUF:UD-Q4_K_XL")
    checked = check(" ".join(known.main.service.argv), gpu="rtx3090").to_dict()
    assert (checked["verdict"], checked["memory"]["total_bytes"]) == (known.main.verdict, known.main.total_bytes[1])
    for engine in ("llama.cpp", "ollama"):
        answer = answer_for(StackRow(gpu="rtx3090", engine=engine, services=[ServiceRow(model="qwen3-14b", context=8192, quantization="UD-Q4_K_XL")]))
        assert any(warning.code == "mix-not-made" for warning in answer.main.warnings)
        assert "make_gguf" not in emit(answer.deployment)["setup.sh"]


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("qwen3-8b", "lmstudio-community/Qwen3-8B-GGUF:Q4_K_M"),
        ("qwen3-vl-8b", "lmstudio-community/Qwen3-VL-8B-Instruct-GGUF:Q4_K_M"),
        ("gpt-oss-20b", "ggml-org/gpt-oss-20b-GGUF"),
        ("qwen3-embedding-0.6b", "Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0"),
    ],
)
def test_a_file_of_the_hub_is_named_and_check_finds_the_same_plan(model, source):
    main = deployment(model, "llama.cpp").main
    assert main.argv[:3] == ("llama-server", "--hf-repo", source)
    assert "--mmproj" not in main.argv  # a repository's own is loaded with it
    checked = check(" ".join(main.argv), gpu="rtx3090").to_dict()
    planned = answer_for(StackRow(gpu="rtx3090", engine="llama.cpp", services=[ServiceRow(model=model, context=8192)])).main
    assert checked["verdict"] == planned.verdict
    assert checked["memory"]["total_bytes"] == planned.total_bytes[1]


@pytest.mark.parametrize("engine", ["llama.cpp", "ollama"])
def test_a_file_that_nobody_publishes_is_made(engine, tmp_path):
    texts = emit(deployment("qwen3-vl-8b", engine, quantization="Q5_K_M"))
    (tmp_path / "setup.sh").write_text(texts["setup.sh"])
    tools, seen = tmp_path / "tools", tmp_path / "seen"
    tools.mkdir()
    stubs = {
        "uv": 'for last; do :; done; case $1 in venv) mkdir -p "$last/bin"; cp "$(dirname "$0")/stub" "$last/bin/python"; cp "$(dirname "$0")/stub" "$last/bin/hf" ;; esac',
        "stub": 'out=; for word; do [ "$out" = next ] && out=$word; [ "$word" = --outfile ] && out=next; done; [ -z "$out" ] || : >"$out"',
        "llama-quantize": ': >"$2"',
        "llama-server": ":",
        "curl": 'while [ $# -gt 1 ]; do [ "$1" = --output ] && : >"$2"; shift; done',
        "tar": "mkdir -p llama.cpp-b10488",
        "ollama": ":",
    }
    for name, body in stubs.items():
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{seen}\n{body}\n')
        (tools / name).chmod(0o755)
    for _ in range(2):  # what is there is not made again
        done = subprocess.run(["bash", tmp_path / "setup.sh"], env={"PATH": f"{tools}:/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    asked = seen.read_text().splitlines()
    assert [line for line in asked if line.startswith("llama-quantize")] == ["llama-quantize qwen3-vl-8b-Q5_K_M.gguf.16bit qwen3-vl-8b-Q5_K_M.gguf.part Q5_K_M"]
    assert "stub download Qwen/Qwen3-VL-8B-Instruct --local-dir checkpoints/Qwen/Qwen3-VL-8B-Instruct" in asked
    assert {"qwen3-vl-8b-Q5_K_M.gguf", "mmproj-qwen3-vl-8b-Q5_K_M-F16.gguf"} <= {path.name for path in tmp_path.iterdir()}
    if engine == "ollama":
        assert [line for line in texts["Modelfile"].splitlines() if line.startswith("FROM")] == [
            "FROM ./qwen3-vl-8b-Q5_K_M.gguf",
            "FROM ./mmproj-qwen3-vl-8b-Q5_K_M-F16.gguf",
        ]


def test_ollama_takes_from_the_hub_what_its_library_is_not_known_to_have():
    texts = emit(deployment("qwen3-coder-30b-a3b", "ollama"))
    name = "hf.co/lmstudio-community/Qwen3-Coder-30B-A3B-Instruct-GGUF:Q4_K_M"
    if f"FROM {name}" in texts["Modelfile"]:  # unless the catalogue names a tag of the library
        assert f"ollama pull {name}" in texts["setup.sh"]
    else:
        assert "ollama pull qwen3-coder:30b" in texts["setup.sh"]


@pytest.mark.parametrize("context", [512, 2048, 8192])
def test_a_text_to_embed_fits_one_micro_batch(context):
    argv = answer_for(
        StackRow(gpu="rtx3090", engine="llama.cpp", services=[ServiceRow(model="nomic-embed-text-v1.5", context=min(context, 2048))])
    ).main.service.argv
    assert int(argv[argv.index("--ubatch-size") + 1]) >= min(context, 2048)
    assert int(argv[argv.index("--batch-size") + 1]) >= int(argv[argv.index("--ubatch-size") + 1])


def test_a_file_of_ones_own_is_served_as_it_is(tmp_path):
    done = run_plan("--gpu", "rtx3090", "--engine", "llama.cpp", "--model", "none.gguf", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert "none.gguf does not exist" in done.stderr
