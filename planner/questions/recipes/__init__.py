"""vLLM's repository of recipes (github.com/vllm-project/recipes) as a whole: its rendered commands, their verdicts, what its maintainers would merge."""
