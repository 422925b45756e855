"""What lasts as long as a process of tests.

Not by `atexit`: the processes of a parallel run end without it, and would leave their servers behind.
"""

from contextlib import ExitStack

at_the_end = ExitStack()
"""Closed when the last test of this process is done."""
