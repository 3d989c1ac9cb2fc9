"""The deterministic world: whole instances of CSS, their servers and peers, on one simulated clock, under faults.

Everything draws from one seeded random source and happens in one order, so a seed replays. `runner` is the way in:
`python -m css.simulation --seed 7 --minutes 15`.
"""
