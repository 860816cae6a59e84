"""Ask vLLM about the emitted command of every model on every GPU of the catalogue: `python tests/oracle/all_commands.py [COUNT ...]`.

About ten minutes a count. CI asks about a grid of it (tests/engines/vllm/test_oracle.py).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from test_oracle import check_commands

from planner.catalogue import load

total, refused = 0, []
for count in [int(argument) for argument in sys.argv[1:]] or [1]:
    for row in load.gpu_rows():
        if row.vendor == "nvidia":
            valid, problems = check_commands([row.name], count)
            total, refused = total + valid, refused + problems
            print(f"{row.name} x{count}: {valid} valid, {len(problems)} refused", *problems, sep="\n  ", flush=True)
print(f"{total} commands valid, {len(refused)} refused")
sys.exit(bool(refused))
