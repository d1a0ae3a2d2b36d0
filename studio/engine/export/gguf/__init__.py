"""GGUF, the file format of llama.cpp and Ollama: written from an ordinary model folder, and checked in llama.cpp."""
