"""How the servers of mlx-lm and mlx-vlm are run: on macOS itself, in one virtual environment."""

from __future__ import annotations

from planner.facts.serving import Serving

SERVING = {
    "mlx-lm": Serving(command=("mlx_lm.server",), proxy_prefix="hosted_vllm", variables=("MLX",), packages=("mlx-lm=={version}",), environment=".venv-mlx"),
    "mlx-vlm": Serving(
        command=("mlx_vlm.server",), proxy_prefix="hosted_vllm", variables=("MLX", "APC"), packages=("mlx-vlm=={version}",), environment=".venv-mlx"
    ),
}
