"""The rules of CSS, pure: records, decisions, placement, platforms. No I/O, no clock, no randomness."""
