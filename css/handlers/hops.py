"""How a request that another platform's CSS has forwarded is known (contract, "Forwarding")."""

from __future__ import annotations

from css.ports.bus import Delivery

ORIGIN = "x-css-origin"
"""Header: moid of the platform on whose broker the request is answered."""
HOP = "x-css-hop"
"""Header: 1 on what has been forwarded, and so is never forwarded again."""


def has_hopped(delivery: Delivery) -> bool:
    """Whether another platform's CSS has forwarded it."""
    return HOP in delivery.headers


def origin_of(delivery: Delivery) -> str:
    """Moid of the platform on whose broker a request is answered; empty: the own one."""
    origin = delivery.headers.get(ORIGIN)
    return origin if has_hopped(delivery) and isinstance(origin, str) else ""
