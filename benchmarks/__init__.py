"""What the service costs, beside the physical limit and what one would pick instead.

__main__.py     the command line
rows/           what is measured, a file each; each makes an Outcome
measuring.py    clients speak for a while, and processes spend CPU on it
systems.py      what is measured: processes, and how their clients speak
clients.py      the load, in C (native/clients.c)
processes.py    programs, their CPU and their memory
outcomes.py     figures, tables and bars, kept as JSON
report.py       RESULTS.md and its pictures, from what is kept
"""
