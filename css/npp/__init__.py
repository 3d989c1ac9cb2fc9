"""NPPCLIENT (seed 8): tells NGI which conferences run, from the Redis of each source platform."""
