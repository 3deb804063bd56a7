"""`qwen3tts models check`: compares a model, as the engine computes it here, with what others recorded.

subject: the model, and what it is compared with. answers: the recorded answers. files, structure, tokens, decoder,
speech, same_bytes: one check each. run: their order. result: what a check returns.
"""
