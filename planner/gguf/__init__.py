"""llama.cpp and Ollama: GGUF files, their memory, their plans."""
