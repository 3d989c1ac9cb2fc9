"""`make run`: two platforms with all their peers in one process, on the embedded bus, a real Valkey and SQLite."""
