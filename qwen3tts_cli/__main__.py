"""`python -m qwen3tts_cli` is the command `qwen3tts`."""

from .cli import main

if __name__ == "__main__":
    main()
