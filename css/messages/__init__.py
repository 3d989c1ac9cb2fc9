"""The message catalogue: one typed struct per message of the wire contract, the codec and its limits."""
