"""`twistd css`: options, and the service made from them."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService
from twisted.python import usage

from css.config import ConfigError, load
from css.probe import probe_from

if TYPE_CHECKING:
    from css.service import CssService


class Options(usage.Options):
    """Command line of `twistd css`."""

    synopsis = "[css options]"
    longdesc = "The conference scheduling server. It needs RabbitMQ and Redis; see etc/css.toml for its configuration."
    optFlags = [["steps", "s", "Log every step of every conference, and why it is taken."]]  # noqa: RUF012
    optParameters = [["config", "c", None, "The configuration, a TOML file. Required."]]  # noqa: RUF012

    def postOptions(self) -> None:
        """Read the configuration; refuse what can't be used with a sentence that names the key."""
        if not self["config"]:
            raise usage.UsageError("--config FILE is missing: give the path of a configuration (sample: etc/css.toml)")
        try:
            self["settings"] = settings = load(self["config"])
            self["probe"] = probe_from(os.environ)
        except (ConfigError, ValueError) as error:
            raise usage.UsageError(str(error)) from error
        if settings.amqp.broker is None:
            raise usage.UsageError(
                f'{self["config"]}: [amqp] url is "memory:", which only the demo has: give amqp://… or amqps://…'
            )


def makeService(options: Options) -> IService:
    """The service tree of one instance on real servers."""
    from twisted.internet import reactor

    from css.service import real_service
    from css.steady import keep_steady

    keep_steady(reactor)
    settings = options["settings"]
    service = real_service(reactor, settings, options["probe"])
    service.work.steps.says_why = bool(options["steps"])
    _spare_the_collector()
    made: IService = service
    return made if settings.web is None else _with_web(reactor, service, settings.web.endpoint)


def _with_web(reactor: Any, service: CssService, endpoint: str) -> IService:
    """The instance, and what tells how it is."""
    from css.webservice import web_service

    together = MultiService()
    service.setServiceParent(together)  # type: ignore[no-untyped-call]
    try:
        web_service(reactor, endpoint, service).setServiceParent(together)
    except ValueError as error:
        raise SystemExit(f"[web] endpoint = {endpoint}: {error}: give one as tcp:8080:interface=127.0.0.1") from error
    made: IService = together
    return made


def _spare_the_collector() -> None:
    """Set the garbage collector up for a long life of short-lived objects: a tenth of a create's cost.

    What is loaded by now stays for good and need not be looked at again; what a create makes is freed by its reference
    counts, nearly all of it, so that a collection at every 700th object would find nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
