"""What the builder of docs/integrations/ takes of Ray Serve's own LLMConfig, for each JSON line; run by the deploy environment's Python."""

import contextlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "integrations"))
with contextlib.redirect_stdout(sys.stderr):
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
    from ray_serve_builder import plain

for line in sys.stdin:
    print(json.dumps(plain(LLMConfig(**json.loads(line)))), flush=True)
