"""`twistd css`: options, and the service made from them."""

from __future__ import annotations

import gc
import os

from twisted.application.service import IService
from twisted.python import usage

from css.config import ConfigError, load
from css.probe import probe_from


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
    service = real_service(reactor, options["settings"], options["probe"])
    service.work.steps.says_why = bool(options["steps"])
    _spare_the_collector()
    made: IService = service
    return made


def _spare_the_collector() -> None:
    """Set the garbage collector up for a long life of short-lived objects: a tenth of a create's cost.

    What is loaded by now stays for good and need not be looked at again; what a create makes is freed by its reference
    counts, nearly all of it, so that a collection at every 700th object would find nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
