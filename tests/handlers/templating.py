"""The handlers of public templates as `tests/handlers/site.py` has them on each instance."""

from __future__ import annotations

from typing import Any

from css.handlers.templates import Templates


def make_templates(instance: Any) -> Templates:
    """Those of an instance that is being put together."""
    site = instance.site
    return Templates(
        "pA",
        lambda: site.platforms,
        site.stores,
        lambda: site.database,
        site.domains,
        instance.clocks,
        instance.epochs,
        instance.answers,
        instance.following,
        instance.outbox,
        instance.tracker,
        instance.tally,
        instance.probe,
    )
