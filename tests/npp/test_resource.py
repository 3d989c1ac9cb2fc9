"""What NGI gets: pages, and errors (contract, section 6)."""

from __future__ import annotations

import json
from importlib.resources import files

from twisted.internet.defer import Deferred

from css.npp.pages import CHUNK, MOST, USUAL, cursor_after, parse_cursor
from tests.npp.world import NppCase


class Pages(NppCase):
    """Good questions."""

    def setUp(self) -> None:
        super().setUp()
        self.sources.start()

    def tearDown(self) -> None:
        self.stop()

    def test_fields(self) -> None:
        """Those of the contract, and no others: no password."""
        self.fill("0660175")
        self.assertEqual(
            self.json("platformmoid=A"),
            (
                200,
                {
                    "conferences": [
                        {
                            "confE164": "0660175",
                            "confname": "会议0660175",
                            "moid": "u1",
                            "platformmoid": "B",
                            "begintime": 5,
                            "endtime": 9,
                        }
                    ],
                    "cursor": None,
                },
            ),
        )

    def test_none(self) -> None:
        """A platform on which nothing runs."""
        self.assertEqual(self.json("platformmoid=B"), (200, {"conferences": [], "cursor": None}))

    def test_limit(self) -> None:
        """100 unless asked otherwise; 1,000 at most; the last page says so."""
        numbers = [f"{number:04}" for number in range(1001)]
        self.fill(*numbers)
        for limit, count in ((None, USUAL), (1, 1), (CHUNK, CHUNK), (CHUNK + 1, CHUNK + 1), (MOST, MOST)):
            _, body = self.json("platformmoid=A" + (f"&limit={limit}" if limit else ""))
            self.assertEqual([each["confE164"] for each in body["conferences"]], numbers[:count])
            _, rest = self.json(f"platformmoid=A&limit=1000&cursor={body['cursor']}")
            self.assertEqual([each["confE164"] for each in rest["conferences"]], numbers[count : count + 1000])
        self.assertIsNone(rest["cursor"])

    def test_exactly_full(self) -> None:
        """A page with all that there is is the last one."""
        self.fill("1", "2")
        _, body = self.json("platformmoid=A&limit=2")
        self.assertEqual((len(body["conferences"]), body["cursor"]), (2, None))

    def test_no_cursor_may_be_empty(self) -> None:
        """As clients send what they have none of."""
        self.fill("1")
        self.assertEqual(self.json("platformmoid=A&cursor="), self.json("platformmoid=A"))

    def test_gone_between_pages(self) -> None:
        """The cursor outlives the conference that it names."""
        self.fill("1", "2", "3")
        _, body = self.json("platformmoid=A&limit=1")
        self.servers["10.0.0.1"].keyspace.delete("confex/1")
        self.servers["10.0.0.1"].keyspace.unscore("css/index/running/A", "1")
        _, rest = self.json(f"platformmoid=A&cursor={body['cursor']}")
        self.assertEqual([each["confE164"] for each in rest["conferences"]], ["2", "3"])

    def test_head(self) -> None:
        """The same without a body."""
        self.fill("1")
        response = self.get("platformmoid=A", method="HEAD")
        length = int(response.headers.getRawHeaders("content-length")[0])
        self.assertEqual((response.code, self.successResultOf(response.content())), (200, b""))
        self.assertEqual(length, len(self.successResultOf(self.get("platformmoid=A").content())))

    def test_document(self) -> None:
        """The description of it all."""
        status, body = self.json(path="/openapi.json")
        self.assertEqual((status, body), (200, json.loads((files("css.npp") / "openapi.json").read_bytes())))

    def test_other_requests_are_not_kept_waiting(self) -> None:
        """A Redis that hangs keeps only those waiting that ask for it."""
        self.fill("1")
        self.json("platformmoid=A")
        self.servers["10.0.0.1"].hang()
        waiting = self.begin("platformmoid=A")
        self.assertNoResult(waiting)
        self.assertEqual(self.json("platformmoid=B")[0], 200)
        self.pass_seconds(3)
        response = self.successResultOf(waiting)
        self.assertEqual(response.code, 503)
        self.servers["10.0.0.1"].recover()


class Errors(NppCase):
    """Bad questions, and bad times."""

    def setUp(self) -> None:
        super().setUp()
        self.sources.start()

    def tearDown(self) -> None:
        self.stop()

    def refused(self, status: int, query: str = "", **more: str) -> str:
        """Demand an error. @return: what it says."""
        code, body = self.json(query, **more)
        self.assertEqual((code, list(body)), (status, ["error"]), query)
        text: str = body["error"]
        self.assertTrue(text)
        return text

    def test_400(self) -> None:
        """Nothing that is wrong passes."""
        for query in ("", "platformmoid=", "platform=A", "platformmoid=a%2Fb", "platformmoid=%E4%BC%9A"):
            self.refused(400, query)
        self.refused(400, "platformmoid=" + "a" * 129)
        self.refused(400, "platformmoid=A&platformmoid=A")
        self.refused(400, "platformmoid=%FF")
        for limit in ("0", "1001", "-1", "x", "", "1.0", "+5", "05", "1e2", "99999", "%D9%A1", "5%0A"):
            self.refused(400, f"platformmoid=A&limit={limit}")
        for cursor in (
            "x",
            "after-",
            "after-x",
            "after-1x",
            "1",
            "null",
            "after-%D9%A1",
            "after-" + "1" * 33,
            "after-1%0A",
        ):
            self.refused(400, f"platformmoid=A&cursor={cursor}")

    def test_404(self) -> None:
        """A platform that discovery does not know, and a place that does not exist."""
        self.assertIn("C", self.refused(404, "platformmoid=C"))
        for path in ("/", "/v1", "/v1/conferences/", "/v2/conferences", "/openapi.json/x"):
            self.refused(404, "platformmoid=A", path=path)

    def test_405(self) -> None:
        """Nobody changes anything here."""
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"):
            response = self.get("platformmoid=A", method=method)
            self.assertEqual(response.code, 405)
            self.assertEqual(response.headers.getRawHeaders("allow"), ["GET, HEAD"])
            self.assertIn("error", self.successResultOf(response.json()))

    def test_503_redis_is_away(self) -> None:
        """Only for its own platform; and it comes back."""
        self.servers["10.0.0.1"].fail()
        self.assertIn("A", self.refused(503, "platformmoid=A"))
        self.assertEqual(self.json("platformmoid=B")[0], 200)
        self.servers["10.0.0.1"].recover()
        self.assertEqual(self.json("platformmoid=A")[0], 200)

    def test_503_in_the_middle_of_a_page(self) -> None:
        """No half page."""
        self.fill("1")
        self.json("platformmoid=A")
        self.servers["10.0.0.1"].hang()
        waiting = self.begin("platformmoid=A")
        self.servers["10.0.0.1"].fail()
        self.pass_seconds(3)
        self.assertEqual(self.successResultOf(waiting).code, 503)
        self.servers["10.0.0.1"].recover()

    def test_too_many_at_once(self) -> None:
        """Refused, not queued without end."""
        self.fill("1")
        self.json("platformmoid=A")
        self.patch_limit(2)
        self.servers["10.0.0.1"].hang()
        waiting = [self.begin("platformmoid=A") for _ in range(2)]
        self.assertIn("too many", self.refused(503, "platformmoid=A"))
        self.servers["10.0.0.1"].recover()
        self.http.flush()
        self.assertEqual([self.successResultOf(each).code for each in waiting], [200, 200])

    def patch_limit(self, most: int) -> None:
        """As if so few were the most."""
        from css.npp import resource

        self.patch(resource, "AT_ONCE", most)


class NoDiscovery(NppCase):
    """Before service discovery has ever answered."""

    def test_503(self) -> None:
        """With its reason; then it answers."""
        self.error = "nobody there"
        self.sources.start()
        status, body = self.json("platformmoid=A")
        self.assertEqual((status, body), (503, {"error": "nobody there"}))
        self.error = ""
        self.pass_seconds(3)
        self.assertEqual(self.json("platformmoid=A")[0], 200)
        self.stop()

    def test_the_client_goes_away(self) -> None:
        """Nothing is written to it, and nothing fails."""
        self.pending = Deferred()
        self.sources.start()
        waiting = self.begin("platformmoid=A")
        waiting.cancel()
        self.http.flush()
        self.failureResultOf(waiting)
        self.pending.callback(None)
        self.http.flush()
        self.stop()


class Cursors(NppCase):
    """What goes out comes back."""

    def test_round_trip(self) -> None:
        """Of every number."""
        for e164 in ("0", "0660175", "9" * 32):
            self.assertEqual(parse_cursor(cursor_after(e164)), e164)
