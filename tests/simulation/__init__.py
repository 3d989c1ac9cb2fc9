"""Tests of the simulated world, and the part of it that runs at each commit."""
