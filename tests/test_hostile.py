"""Nothing hostile or unlucky gets through: every finding of `hostile.CASES`, and one injected fault of our own."""

import json
import os
import subprocess
import sys
import unicodedata

import pytest
from conftest import ROOT
from forked import Forks
from hostile import CASES, ESCAPES, SECRETS, lay

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
QUICK = ("engine-config", "checkpoint", "gguf-", "stack-", "calibration", "secret", "options-", "yaml-", "config-")  # milliseconds each
SLOW = ("strings", "10^", "huge", "many", "long", "bomb", "deep")


@pytest.fixture(scope="module")
def forks():
    made = Forks(judged=True)
    yield made
    made.close()


def is_quick(name: str) -> bool:
    return name.startswith(QUICK) and not any(part in name for part in SLOW)


def controls(text: str) -> set[str]:
    return {letter for letter in text if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if is_quick(name) else pytest.mark.slow) for name in CASES])
def test_a_finding_ends_as_it_should(name, forks, tmp_path):
    case = CASES[name]
    lay(case.files, tmp_path)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    done = forks.run(
        *case.words, cwd=tmp_path, stdin=case.stdin, XDG_CONFIG_HOME=str(tmp_path), HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "hub")
    )
    said = done.out + done.err
    assert done.code in case.codes, said[-2000:]
    assert "\nTraceback" not in f"\n{said}" and "fault of plan" not in said, said[-2000:]
    assert (done.seconds < 5, done.megabytes < 300) == (True, True), done
    assert not controls(said), repr(said)
    assert not [secret for secret in SECRETS if secret in said], said
    assert not (tmp_path / "INJ").exists()
    after = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if "hub" not in path.parts)
    assert after == before


FAULTS = {
    "ValueError": "raise ValueError('no such thing as \x1b]0;x HF_TOKEN=hunter2hunter2')",
    "MemoryError": "raise MemoryError",
    "RecursionError": "raise RecursionError('too deep')",
    "KeyError": "raise KeyError('sk-secret123')",
    "AssertionError": "assert False",
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_exception_is_one_line_with_how_to_report_it(kind, debug, forks, tmp_path):
    flag = ["--debug"] if debug else []
    program = (
        "import sys, planner.cli.question as asked\n"
        f"def fails(values):\n    {FAULTS[kind]}\n"
        "asked.question_row = fails\n"
        f"sys.argv = ['plan', '--gpu', 'rtx4090', '--model', 'qwen3-8b', *{flag}]\n"
        "from planner.cli.main import main\nmain()\n"
    )
    done = forks.run(program=program, cwd=tmp_path)
    *trace, last = done.err.splitlines()
    assert (done.code, done.out) == (3, "")
    assert last.startswith(f"plan: a fault of plan itself: {kind}") and "please report it as an issue" in last and "--debug" in last
    assert bool(trace) == debug and ("Traceback (most recent call last):" in trace) == debug
    assert not controls(done.err)
    assert not [secret for secret in SECRETS if secret in done.err], done.err


def test_every_command_tells_a_fault_of_ours_in_one_line(forks, tmp_path):
    """Also those whose modules are imported only when they are called."""
    for debug in (False, True):
        program = (
            "import sys, click, planner.cli.main as door\n"
            "def fails(self, ctx, args):\n    raise ZeroDivisionError('HF_TOKEN=hunter2hunter2')\n"
            "leaves = []\n"
            "def leaf(command, words):\n"
            "    if isinstance(command, click.Group) and words != ():\n"
            "        [leaf(command.get_command(None, name), (*words, name)) for name in command.list_commands(None)]\n"
            "    else:\n        leaves.append(words)\n"
            "    if not isinstance(command, click.Group):\n        type(command).parse_args = fails\n"
            "for name in door.cli.list_commands(None):\n    leaf(door.cli.get_command(None, name), (name,))\n"
            "for words in leaves:\n"
            f"    sys.argv = ['plan', *words, *{['--debug'] if debug else []}]\n"
            "    try:\n        door.main()\n"
            "    except SystemExit as end:\n        print(*words, end.code)\n"
        )
        done = forks.run(program=program, cwd=tmp_path)
        asked = done.out.splitlines()
        told = [line for line in done.err.splitlines() if line.startswith("plan: a fault of plan itself: ZeroDivisionError")]
        assert len(asked) > 20 and all(line.endswith(" 3") for line in asked), done
        assert len(told) == len(asked) and done.err.count("Traceback") == debug * len(asked)
        assert "hunter2" not in done.err


def test_a_log_of_another_card_is_not_kept_for_this_one(forks, tmp_path):
    lines = [
        "INFO 01-01 00:00:00 [api_server.py:1] vLLM API server version 0.11.0",
        "INFO 01-01 00:00:00 [utils.py:1] non-default args: {'model': 'Qwen/Qwen3-8B', 'max_model_len': 8192}",
        "INFO 01-01 00:00:00 [fused_moe.py:1] using config device_name=NVIDIA_H100_80GB_HBM3,dtype=fp8.json",
        "INFO 01-01 00:00:01 [gpu_worker.py:1] Available KV cache memory: 50.00 GiB",
    ]
    (tmp_path / "l.log").write_text("\n".join(lines) + "\n")
    done = forks.run("explain", "l.log", "--gpu", "rtx4090", "--save-calibration", cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path))
    assert (done.code, "nothing is kept" in done.err) == (2, True), done
    assert not (tmp_path / "plan" / "calibration.json").exists()


def test_a_damaged_calibration_is_set_aside_when_a_new_one_is_written(forks, tmp_path):
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "calibration.json").write_text("[1")
    program = "from planner.machine import calibration\ncalibration._keep(calibration.calibration_path(), 'rtx4090', lambda entry: entry | {'shift_bytes': 5})"
    assert forks.run(program=program, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path)).code == 0
    assert json.loads((tmp_path / "plan" / "calibration.json").read_text())["gpus"] == {"rtx4090": {"shift_bytes": 5}}
    assert (tmp_path / "plan" / "calibration.json.damaged").read_text() == "[1"


def test_only_one_place_prints():
    prints = {path.name for path in (ROOT / "planner").rglob("*.py") if "judge" not in path.parts and "click.echo(" in path.read_text()}
    assert prints == {"printing.py"}


def test_only_the_reader_opens_files_of_strangers():
    """Readers of our own data, and what writes, are known; a new one is to use planner.reader."""
    own = {
        "bench.py",
        "build.py",
        "output.py",
        "schema.py",
        "shipped.py",
        "hub.py",
        "journal.py",
        "files.py",
        "main.py",
        "command.py",
        "calibration.py",
        "writing.py",
    }
    opened = set()
    for path in (ROOT / "planner").rglob("*.py"):
        text = path.read_text()
        if any(word in text for word in (".read_bytes(", ".open(", "json.load(")) and not ({"judge", "templates"} & set(path.parts)) and "__file__" not in text:
            opened.add(path.name)
    assert opened - own - {"reader.py"} == {"serving.py", "trace.py", "web.py"}, opened


FULL = {  # what writes a file
    "config.toml": ("config", "set", "gpu", "h100"),
    "config.toml, a key less": ("config", "unset", "gpu"),
    "gpus.yaml": ("gpus", "add", "my-card", "--vram", "16GiB", "--bandwidth", "672", "--compute-capability", "8.9"),
    "calibration": ("explain", "l.log", "--gpu", "h100", "--save-calibration"),
    "files": ("--gpu", "rtx4090", "--model", "qwen3-8b", "--output", "out", "-q"),
    "files over others": ("--gpu", "rtx4090", "--model", "qwen3-8b", "--context", "8k", "--output", "held", "--force", "-q"),
    "page": ("--gpu", "rtx4090", "--model", "qwen3-8b", "--dry-run", "--html", "x.html", "-q"),
    "report": ("check", "l.sh", "--gpu", "h100", "--report", "sarif=r.sarif", "-q"),
    "emit": ("emit", "held/plan.json", "--to", "compose", "--output", "out"),
    "csv": ("sweep", "--models", "qwen3-8b", "--gpus", "rtx4090", "--output", "a.csv", "--jobs", "1"),
    "json": ("sweep", "--models", "qwen3-8b", "--gpus", "rtx4090", "--output", "a.json", "--jobs", "1"),
}


@pytest.mark.parametrize("what", FULL)
def test_a_file_on_a_full_disk_is_whole_or_not_there(what, forks, tmp_path):
    """No file may grow beyond 700 bytes here: all that a command finds is as it was, and it says so in one line."""
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "config.toml").write_text("# what I noted\n" * 100 + 'count = 1\ngpu = "rtx4090"\n')
    (tmp_path / "plan" / "calibration.json").write_text(json.dumps({"schema": 1, "gpus": {f"card-{number}": {"shift_bytes": 1} for number in range(50)}}))
    (tmp_path / "l.log").write_text(
        "INFO 01-01 00:00:00 [api_server.py:1] vLLM API server version 0.11.0\n"
        "INFO 01-01 00:00:00 [utils.py:1] non-default args: {'model': 'Qwen/Qwen3-8B', 'max_model_len': 8192}\n"
        "INFO 01-01 00:00:01 [gpu_worker.py:1] Available KV cache memory: 50.00 GiB\n"
    )
    (tmp_path / "l.sh").write_text("vllm serve qwen3-8b --max-model-len 99999\n" * 3)
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert forks.run(*FULL["gpus.yaml"][:2], "other-card", *FULL["gpus.yaml"][3:], cwd=tmp_path, **environment).code == 0
    with (tmp_path / "plan" / "gpus.yaml").open("a") as rows:
        rows.write("# my cards\n" * 100)
    assert forks.run(*FULL["files"][:-2], "held", "-q", cwd=tmp_path, **environment).code == 0
    before = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    program = (  # Python itself would cut what it keeps of a module, and read that the next time
        "import resource, sys\nsys.dont_write_bytecode = True\nresource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))\n"
        f"sys.argv = ['plan', *{FULL[what]!r}]\nfrom planner.cli.main import main\nmain()\n"
    )
    done = forks.run(program=program, cwd=tmp_path, **environment)
    *notes, last = done.err.splitlines()
    assert (done.code, last.startswith("plan: cannot write "), "File too large" in last) == (3, True, True), done
    assert all("plan --gpus" in note or "plan: --gpus" in note for note in notes), done  # rows of one's own are told of
    after = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".lock", ".unfinished")}
    assert after == before
    if what in ("csv", "json"):  # it goes on where there is room again
        assert forks.run(*FULL[what], "--resume", cwd=tmp_path, **environment).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("writers", [20])
def test_twenty_writers_lose_no_calibration(writers, tmp_path):
    program = "import sys\nfrom planner.machine import calibration as c\n[c._keep(c.calibration_path(), f'{sys.argv[1]}-{n}', lambda entry, n=n: entry | {'shift_bytes': n}) for n in range(20)]"
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", program, str(number)], env=environment) for number in range(writers)]
    assert [process.wait() for process in running] == [0] * writers
    kept = json.loads((tmp_path / "plan" / "calibration.json").read_text())["gpus"]
    assert len(kept) == writers * 20
    assert {path.name for path in (tmp_path / "plan").iterdir()} <= {"calibration.json", "calibration.json.lock"}


def test_escapes_are_shown_and_not_sent():
    from planner.text import shown, visible

    assert shown("a\x1b\u202eb") == "a\\u001b\\u202eb"
    assert visible(f"a\n{ESCAPES}\n") == f"a\n{shown(ESCAPES)}\n"
