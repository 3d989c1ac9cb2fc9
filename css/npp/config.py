"""What `twistd npp` reads of a configuration: its own sections are required, CSS's may stand beside them."""

from __future__ import annotations

import msgspec

from css.config import (
    AmqpSection,
    Checker,
    ConfigError,
    InstanceSection,
    LicenseSection,
    NppSection,
    PlatformSection,
    RedisSection,
    RestoreSection,
    Section,
    SqlSection,
    TimersSection,
    WebSection,
    convert,
    read_text,
    tables_of,
)


class NppSettings(Section, frozen=True):
    """The sections that count, checked; of the others only the names and types of their keys are."""

    platform: PlatformSection
    npp: NppSection
    web: WebSection
    redis: RedisSection = RedisSection()
    amqp: AmqpSection | None = None
    instance: InstanceSection | None = None
    sql: SqlSection | None = None
    license: LicenseSection | None = None
    timers: TimersSection | None = None
    restore: RestoreSection | None = None


def load(path: str) -> NppSettings:
    """Read and check a configuration file.

    @raise ConfigError: it can't be read, or not be used.
    """
    return parse(read_text(path), path)


def parse(text: str, origin: str) -> NppSettings:
    """Check a configuration.

    @param origin: the file's path, for errors and for relative paths in it.
    @raise ConfigError: with the key's name, `origin`, and what to do.
    """
    try:
        settings = convert(tables_of(text), NppSettings)
        checker = Checker(origin)
        return msgspec.structs.replace(settings, redis=checker.redis(settings.redis), npp=checker.npp(settings.npp))
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error.__cause__
