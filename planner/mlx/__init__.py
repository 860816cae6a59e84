"""MLX on a Mac: quantized weights, unified memory, plans."""
