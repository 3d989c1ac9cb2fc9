"""What two instances, or two coroutines of one, do to each other at just the wrong moment. Found by the simulation."""

from __future__ import annotations

from tests.handlers.site import CM_REPLIES, Instance, SiteCase, create, release


class ReleaseRaces(SiteCase):
    """One release request, at two instances at once."""

    def test_next_conference_survives(self) -> None:
        """A copy of the release does not end the conference that has got the number meanwhile; its ACK is repeated."""
        self.run_one()
        other = Instance(self.site, slot=2)
        asking = {"message_id": "end", "reply_to": CM_REPLIES}
        next_request = {"message_id": "next", "reply_to": CM_REPLIES}

        def in_between(step: str, point: str) -> None:
            if (step, point) == ("release", "before_commit"):
                other.on_point = lambda step, point: None
                self.css.take(release(), **asking)
                self.css.take(create(), **next_request)

        other.on_point = in_between
        other.take(release(), **asking)
        self.assertEqual(self.site.record("0755001")["state"], "creating")
        ends = [letter for letter in self.site.letters(CM_REPLIES) if b"RELEASECONF_ACK" in letter.body]
        self.assertEqual((len(ends), len({letter.message_id for letter in ends})), (2, 1))


class DirectoryRaces(SiteCase):
    """The directory is read anew between a create's look at it and its commit."""

    def test_guard_of_the_look(self) -> None:
        """The commit is guarded by what the create was checked by: the domain has gone, and it is refused."""
        real = self.css.epochs.next

        def next_epoch(now_ms: int, above: int = 0) -> int:
            key = "css/domains/generation"
            self.css.run(self.site.store.write_hashes({}, bump=key))
            self.site.domains.current = self.site.domains.seen = {}
            self.site.domains.generation = "1"
            self.css.epochs.next = real  # type: ignore[method-assign]
            return real(now_ms, above)

        self.css.epochs.next = next_epoch  # type: ignore[method-assign]
        self.css.take(create(), message_id="x", reply_to=CM_REPLIES)
        self.assertEqual(self.errcodes(), ["UNKNOWN_DOMAIN"])
        self.assertEqual(self.site.record("0755001"), {})
