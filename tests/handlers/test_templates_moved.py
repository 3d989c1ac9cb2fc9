"""Public templates that go from one platform to another (seed 6): in one Redis at a time, the one that SQL names."""

from __future__ import annotations

from collections.abc import Callable

from css.ports.sql import TemplateRow
from tests.handlers.site import CM_REPLIES
from tests.handlers.templatecase import KEY, Case, request


class Moved(Case):
    """An add of a number whose template is another platform's replaces it: that platform's Redis has it no more."""

    def setUp(self) -> None:
        super().setUp()
        self.site.set_states(pA="normal", pB="normal")

    def where(self) -> tuple[str, list[str]]:
        """Whose it is in SQL, and which stores have it."""
        row = self.sql.templates.get("0100")
        stores = (self.site.store, self.site.other)
        return row.platformmoid if row else "", [each.platform for each in stores if KEY in each.dump()]

    def settled(self) -> None:
        """Nothing is under way in either store."""
        self.nothing_under_way()
        left = [key for key in self.site.other.dump() if key.startswith(("css/template/", "css/out/"))]
        self.assertEqual(left, [])

    def test_there_and_back(self) -> None:
        """In one place at a time; the one that has lost it can't change it."""
        for moid, platform in (("uA", "pA"), ("uB", "pB"), ("uA", "pA")):
            self.want(message_id=f"t-{platform}-{len(self.outcomes())}", moid=moid)
            self.assertEqual(self.where(), (platform, [platform]))
            self.settled()
        self.want("MOD", "t-mod", moid="uB")
        self.assertEqual(self.outcomes(), ["ACK"] * 3 + ["CONF_NOT_FOUND"])

    def test_that_store_is_away(self) -> None:
        """Nothing is written; later it is."""
        self.want("ADD", "t1", moid="uB")
        self.site.other.server.fail()
        self.want("ADD", "t2")
        self.site.other.server.recover()
        self.assertEqual((self.where(), self.outcomes()), (("pB", ["pB"]), ["ACK", "INTERNAL"]))
        self.want("ADD", "t3")
        self.assertEqual(self.where(), ("pA", ["pA"]))

    def test_of_a_platform_that_is_no_concern_here(self) -> None:
        """Its Redis can't be told."""
        self.sql.templates["0100"] = TemplateRow("0100", "uC", "pC", "会", "{}")
        self.want()
        self.assertEqual((self.where(), self.outcomes()), (("pC", []), ["PLATFORM_NOT_SERVED"]))

    def test_cut_off_at_each_point(self) -> None:
        """The sweep finishes what an instance left, in both stores."""
        for number, point in enumerate(("after_intent", "before_taking", "after_sql", "before_commit", "after_commit")):
            self.want("ADD", f"t-{number}", moid="uB")
            other = self.another()
            other.on_point = dies_at(point)
            died = other.begin(request("ADD"), message_id=f"d-{number}", reply_to=CM_REPLIES)
            self.failureResultOf(died, SystemError)
            for _ in range(2):
                self.sweep()
            self.assertEqual(self.where(), ("pA", ["pA"]), point)
            self.settled()

    def test_both_at_once(self) -> None:
        """Either may count; SQL and both stores agree, wherever they meet."""
        points = ("before_intent", "after_intent", "before_taking", "after_sql", "before_commit", "after_commit")
        for point in points:
            self.meet(point, "uA", "uB")
            self.meet(point, "uB", "uA")
        self.assertEqual(set(self.outcomes()), {"ACK"})

    def meet(self, point: str, first: str, second: str) -> None:
        """An add for one domain, and at a point of it another one's, from beginning to end."""
        other, name = self.another(), f"{first}-{point}"
        self.css.on_point = once(point, lambda: self.want("ADD", f"o-{name}", other, moid=second))
        self.want("ADD", f"t-{name}", moid=first)
        self.css.on_point = lambda step, point: None
        self.sweep()
        owner, stores = self.where()
        self.assertEqual(stores, [owner], name)
        self.settled()
        self.want("DEL", f"del-{name}", moid=owner.replace("p", "u"))
        self.assertEqual(self.where(), ("", []))


def once(point: str, work: Callable[[], None]) -> Callable[[str, str], None]:
    """Do something the first time that a template's work comes to a point."""
    left = [work]

    def reached(step: str, at: str) -> None:
        if (step, at) == ("template", point) and left:
            left.pop()()

    return reached


def dies_at(point: str) -> Callable[[str, str], None]:
    """Stop for ever at a point of a template's work."""

    def die() -> None:
        raise SystemError("killed")

    return once(point, die)
