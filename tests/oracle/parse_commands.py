"""Whether vLLM's own parser takes commands; run by the judge's Python. Lists of words after `vllm serve` come as JSON lines, answers go as JSON lines.

The command line of `vllm` (entrypoints/cli/main.py) with its `serve`, then the checks before anything is loaded (validate_parsed_serve_args).
"""

import contextlib
import io
import json
import sys

import simulated_gpu

simulated_gpu.install("h100", (9, 0), 80 * 2**30, 1)

from releases import FlexibleArgumentParser, make_arg_parser, validate_api_server_args, validate_parsed_serve_args  # noqa: E402

PARSER = FlexibleArgumentParser(description="vLLM CLI")
PARSER.add_argument("-v", "--version", action="version", version="0.33")
SERVE = PARSER.add_subparsers(required=False, dest="subparser").add_parser("serve")
make_arg_parser(SERVE)


def answer(words):
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors):
            arguments = PARSER.parse_args(["serve", *words])
            validate_parsed_serve_args(arguments)
            if not arguments.tool_parser_plugin and not arguments.reasoning_parser_plugin:  # a plugin may bring any name
                arguments.structured_outputs_config.reasoning_parser = arguments.reasoning_parser
                validate_api_server_args(arguments)
    except SystemExit as end:
        return {"taken": False, "help": end.code == 0, "error": errors.getvalue().strip()[-300:]}
    except Exception as error:
        return {"taken": False, "error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {"taken": True, "model": arguments.model_tag, "values": {name: str(value) for name, value in vars(arguments).items() if name in ASKED}}


ASKED = ("max_model_len", "tensor_parallel_size", "enforce_eager", "max_num_seqs", "enable_prefix_caching", "gpu_memory_utilization", "kv_cache_dtype", "dtype")

for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
