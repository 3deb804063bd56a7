"""`qwen3tts models check`."""
