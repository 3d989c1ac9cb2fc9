"""The domain directory: chains, good and bad."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from css.domain.directory import Directory, Domain, NoPlatform, from_fields, key_of, to_fields

SERVICE = Domain("s", 2, name="服务域")
PLATFORM = Domain("p", 1, "s", "平台域")
USER = Domain("u", 0, "p", "用户域")


class PlatformOf(SynchronousTestCase):
    def check(self, expected: str | NoPlatform, *domains: Domain, moid: str = "u") -> None:
        directory = Directory(domains)
        self.assertEqual(directory.platform_of(moid), expected)
        self.assertEqual(directory.platform_of(moid), expected)

    def test_user_domain_below_its_platform(self) -> None:
        self.check("p", SERVICE, PLATFORM, USER)

    def test_user_domain_below_another(self) -> None:
        self.check("p", PLATFORM, USER, Domain("v", 0, "u"), moid="v")

    def test_unknown(self) -> None:
        self.check(NoPlatform.UNKNOWN, PLATFORM)

    def test_stopped(self) -> None:
        self.check(NoPlatform.STOPPED, PLATFORM, Domain("u", 0, "p", used=0))

    def test_not_a_user_domain(self) -> None:
        self.check(NoPlatform.NOT_A_USER_DOMAIN, SERVICE, PLATFORM, moid="p")
        self.check(NoPlatform.NOT_A_USER_DOMAIN, SERVICE, PLATFORM, moid="s")

    def test_missing_platform(self) -> None:
        self.check(NoPlatform.BROKEN_CHAIN, USER)

    def test_only_a_service_domain_above(self) -> None:
        self.check(NoPlatform.BROKEN_CHAIN, SERVICE, Domain("u", 0, "s"))

    def test_chain_that_bites_its_tail(self) -> None:
        self.check(NoPlatform.BROKEN_CHAIN, Domain("u", 0, "v"), Domain("v", 0, "u"))
        self.check(NoPlatform.BROKEN_CHAIN, Domain("u", 0, "u"))


class Fields(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        domain = Domain("用", 0, "p", "用户域", 0, 1, 1)
        fields = to_fields(domain)
        self.assertEqual(key_of("用"), "domain/用/info")
        self.assertEqual(
            fields,
            {
                "moid": "用",
                "level": "0",
                "uplevelmoid": "p",
                "name": "用户域",
                "used": "0",
                "enableh265": "1",
                "enablehdmeeting": "1",
            },
        )
        self.assertEqual(from_fields(key_of("用"), fields), domain)

    def test_missing_fields_have_their_defaults(self) -> None:
        self.assertEqual(from_fields("domain/x/info", {"level": "1"}), Domain("x", 1))

    def test_what_is_no_domain(self) -> None:
        for fields in ({}, {"level": ""}, {"level": "x"}, {"level": "-1"}, {"level": "0", "used": "yes"}):
            self.assertIsNone(from_fields("domain/x/info", fields))
