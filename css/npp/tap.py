"""`twistd npp`: options, and the service made from them."""

from __future__ import annotations

from twisted.application.service import IService
from twisted.python import usage

from css.config import ConfigError
from css.npp.config import load


class Options(usage.Options):
    """Command line of `twistd npp`."""

    synopsis = "[npp options]"
    longdesc = "NPPCLIENT: tells NGI over HTTP which conferences run. It needs Redis and service discovery."
    optParameters = [["config", "c", None, "The configuration, a TOML file. Required."]]  # noqa: RUF012

    def postOptions(self) -> None:
        """Read the configuration; refuse what can't be used with a sentence that names the key."""
        if not self["config"]:
            raise usage.UsageError("--config FILE is missing: give the path of a configuration (sample: etc/npp.toml)")
        try:
            self["settings"] = load(self["config"])
        except ConfigError as error:
            raise usage.UsageError(str(error)) from error


def makeService(options: Options) -> IService:
    """The service tree, on real servers.

    @raise usage.UsageError: the endpoint is none.
    """
    from twisted.internet import reactor

    from css.npp.service import real_npp

    try:
        made: IService = real_npp(reactor, options["settings"])
    except ValueError as error:
        raise usage.UsageError(f"[web] endpoint: {error}: correct it") from error
    return made
