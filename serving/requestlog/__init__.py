"""The request log: a sample of what was asked and answered, in Parquet files.

Gateways put rows into one socket, which is the queue and never makes them wait; a process of its own
takes them out and writes. The supervisor holds both ends, so that neither death loses the queue.
"""
