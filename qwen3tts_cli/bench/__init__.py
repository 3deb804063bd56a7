"""Measuring: what this machine can do, how near to it each precision and batch comes, and which to take.

machine: the bounds and the state. speech: one row. workers: the processes they run in. run: what is measured, in which
order. state: what of it can be compared. results: the rows and the tables of them. advice: what to take, kept for
`doctor`. plot: a picture of the rows. external: other programs by the same clock.
"""
