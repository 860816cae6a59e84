"""Run by the Python that has aiconfigurator: questions as JSON lines on standard input, answers with their CPU time on standard output."""

import json
import logging
import sys
import time

# gemm and MoE modes as aiconfigurator spells what the measurements state
GEMM = {"bf16": "bfloat16", "fp8": "fp8", "fp8_block": "fp8_block", "fp8+moe_fp8_block": "fp8_block", "nvfp4": "nvfp4", "mxfp4": None}
MOE = {"fp8+moe_fp8_block": "fp8_block", "nvfp4": "nvfp4"}


def ask(estimate, row):  # noqa: ANN001, ANN201
    """One estimate: first with the quantization that the measurement states, then with what aiconfigurator takes by itself."""
    fixed = {
        "backend_name": row["engine"],
        "isl": row["prompt"],
        "osl": row["answer"],
        "batch_size": row["users"],
        "tp_size": row["tp"],
        "moe_tp_size": max(1, row["tp"] // max(1, row["ep"])),
        "moe_ep_size": max(1, row["ep"]),
    }
    modes = {"gemm_quant_mode": GEMM.get(row["quant"]), "moe_quant_mode": MOE.get(row["quant"], GEMM.get(row["quant"]))}
    failed = None
    for more in ({name: mode for name, mode in modes.items() if mode}, {}):
        start = time.process_time()
        try:
            found = estimate(row["model"], row["gpu"], **fixed, **more)
        except Exception as error:
            failed = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            continue
        return {"ttft_s": found.ttft / 1000, "tpot_s": found.tpot / 1000, "seconds": time.process_time() - start}
    return {"refused": failed}


def main() -> None:
    """Answer until the input ends."""
    logging.disable(logging.CRITICAL)
    from aiconfigurator.cli.api import cli_estimate

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        row = json.loads(line)
        print(json.dumps({"id": row["id"]} | ask(cli_estimate, row)), flush=True)


if __name__ == "__main__":
    main()
