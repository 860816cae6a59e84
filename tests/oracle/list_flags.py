"""vLLM's own serve flags as JSON lines; run by the judge's Python. argv as judge.py's first four."""

import json
import sys

import simulated_gpu

simulated_gpu.install("h100", (9, 0), 80 * 2**30, 1)

from vllm.entrypoints.common.cli_args import make_arg_parser  # noqa: E402
from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: E402

for action in make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))._actions:
    if action.option_strings and action.dest != "help":
        choices = [str(choice) for choice in action.choices] if action.choices else None
        values = 0 if action.nargs == 0 or type(action).__name__ in ("BooleanOptionalAction", "_StoreTrueAction") else 1
        values = "many" if action.nargs in ("+", "*") else "optional" if action.nargs == "?" else values
        print(json.dumps({"flags": action.option_strings, "values": values, "choices": choices}), file=sys.stdout, flush=True)
