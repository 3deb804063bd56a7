"""`qwen3tts bench`: measures the machine, and how fast speech is generated in each precision and batch size.

machine: what the machine can do at most. sessions: measures one row. workers: the processes that rows run in. run: the
order of the measurements. costs: bytes and operations of a frame. results: rows, table, report. advice: which settings
to take; `doctor` shows them.
"""
