"""What CSS does with each message: load, decide (pure), commit, publish, acknowledge."""
