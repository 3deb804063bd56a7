"""`qwen3tts bench`: measures the machine, and how fast speech is generated in each precision and batch size.

The modules: machine: the upper bounds of the machine. sessions: measures one row. workers: the processes in which rows
are measured. run: the order of the measurements. costs: the bytes and operations of a frame. results: the rows, table
and report. advice: the settings to use on this machine, which `doctor` shows.
"""
