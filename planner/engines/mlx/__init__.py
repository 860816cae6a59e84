"""MLX on a Mac: mlx-lm and mlx-vlm."""
