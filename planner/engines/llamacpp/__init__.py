"""llama.cpp and Ollama: GGUF files and what they take."""
