"""Is this `vllm bench serve` command one that vLLM takes? JSON lists in, "" or the error out; run by the vLLM environment's Python."""

import contextlib
import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "planner" / "engines" / "vllm" / "judge"))
import simulated_gpu

simulated_gpu.install("rtx4090", (8, 9), 24 * 2**30, 1)

from releases import FlexibleArgumentParser  # noqa: E402
from vllm.benchmarks.serve import add_cli_args  # noqa: E402

for line in sys.stdin:
    parser = FlexibleArgumentParser(prog="vllm bench serve")
    add_cli_args(parser)
    errors, answer = io.StringIO(), ""
    try:
        with contextlib.redirect_stderr(errors):
            parser.parse_args(json.loads(line)[3:])
    except SystemExit:
        answer = errors.getvalue().strip().splitlines()[-1]
    print(json.dumps(answer), flush=True)
