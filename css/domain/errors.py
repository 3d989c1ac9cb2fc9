"""The error codes that CSS puts into a NACK, and what can't be read."""

from __future__ import annotations

import enum


class Unreadable(ValueError):
    """What a store has is not what this version writes. Another look finds the same."""


class ErrCode(enum.StrEnum):
    """Why a request was refused; each member's value is its spelling on the wire."""

    BAD_REQUEST = "BAD_REQUEST"
    UNKNOWN_DOMAIN = "UNKNOWN_DOMAIN"
    PLATFORM_NOT_SERVED = "PLATFORM_NOT_SERVED"
    PLATFORM_ABNORMAL = "PLATFORM_ABNORMAL"
    LICENSE_LIMIT = "LICENSE_LIMIT"
    CONF_EXISTS = "CONF_EXISTS"
    CONF_NOT_FOUND = "CONF_NOT_FOUND"
    CONF_NOT_RUNNING = "CONF_NOT_RUNNING"
    NO_RESOURCE = "NO_RESOURCE"
    RMS_NACK = "RMS_NACK"
    RMS_TIMEOUT = "RMS_TIMEOUT"
    MCU_REJECTED = "MCU_REJECTED"
    MCU_TIMEOUT = "MCU_TIMEOUT"
    UNREACHABLE_PLATFORM = "UNREACHABLE_PLATFORM"
    INTERNAL = "INTERNAL"
