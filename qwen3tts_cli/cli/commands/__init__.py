"""The commands of `qwen3tts`, one module each; cli.py imports them when they are asked for."""
