"""`cssctl`: what an operator can see and do on the shared state of a platform."""
