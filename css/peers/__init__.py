"""Simulated peers of CSS, over the message-bus port: for the demo, tests and benchmarks.

They know CSS only by the wire contract, and share with it the message catalogue alone: the names of queues and
exchanges are spelled here a second time, on purpose.
"""
