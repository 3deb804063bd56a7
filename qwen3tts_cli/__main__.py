"""`python -m qwen3tts_cli` is the command `qwen3tts`."""

from .cli.main import main

if __name__ == "__main__":
    main()
