"""What keeps the demo from running."""


class DemoError(Exception):
    """The text says what is wrong and what to do."""
