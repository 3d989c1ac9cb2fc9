"""Whole instances, whole flows, on memory adapters and on real servers."""
