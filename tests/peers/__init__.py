"""Tests of the simulated peers."""
