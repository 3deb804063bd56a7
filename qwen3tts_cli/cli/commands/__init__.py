"""The commands of `qwen3tts`, one module each; cli/main.py imports a module when its command is run."""
