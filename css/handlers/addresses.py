"""Exchanges, routing keys and queues, as the wire contract's section 2 names them."""

from __future__ import annotations

from css.ports.bus import Binding, Queue, Topology

CM_QUEUE = "MAU.CM.Q"
CONTROL_QUEUE = "MAU.CMMCU.Q"
MCU_QUEUE = "MAU.MCU.Q"
RMS_REPLY_QUEUE = "MAU.RPCRES.Q"
BMC_QUEUE = "MAU.BMC.Q"
LICENCE_QUEUE = "MAU.LICENSE.Q"
PARK_QUEUE = "MAU.PARK.Q"

DEFAULT = ""
TO_RMS = ("RMS.RES.EX", "RMS.RES.K")
TO_CM_REQUEST = ("MEETING.CSS.EX", "MEETING.CSS.K")
TO_CM_NOTICE = ("meeting.mccntf.ex", "meeting.mccntf.k")
TO_LICENCE_USERS = ("platform.license.ex", "platform.license.ntf.k")
TO_LOCATOR = ("UPU.CONF.EX", "UPU.CONF.K")
TO_BMC = ("BMC.REQ.EX", "BMC.REQ.K")
TO_BILLING = ("BMC.BILL.EX", "BMC.BILL.K")
TO_NMS = ("nms.report.ex", "nms.report.k")
TO_PEER_CSS = ("mau.cmcmu.ex", "mau.cmcmu.k")

_CONSUMED = (
    Binding(CM_QUEUE, "MAU.CM.EX", "MAU.CM.K"),
    Binding(CONTROL_QUEUE, "mau.cmcmu.ex", "mau.cmcmu.k"),
    Binding(CONTROL_QUEUE, "mau.cmcmu.ex", "MAU.CMMCU.K"),
    Binding(CONTROL_QUEUE, "mau.cmcmu.ex", "cm.cmmcu.key"),
    Binding(MCU_QUEUE, "MAU.MCU.EX", "MAU.MCU.K"),
    Binding(BMC_QUEUE, "MAU.BMC.EX", "MAU.BMC.K"),
    Binding(LICENCE_QUEUE, "MAU.LICENSE.EX", "MAU.LICENSE.K"),
)
_PUBLISHED_TO = (
    TO_RMS,
    TO_CM_REQUEST,
    TO_CM_NOTICE,
    TO_LICENCE_USERS,
    TO_LOCATOR,
    TO_BMC,
    TO_BILLING,
    TO_NMS,
)

WORK_QUEUES = (CM_QUEUE, CONTROL_QUEUE, MCU_QUEUE, RMS_REPLY_QUEUE, BMC_QUEUE, LICENCE_QUEUE)
"""What CSS consumes once it serves."""
OFF_DUTY_QUEUES = (CM_QUEUE, CONTROL_QUEUE, MCU_QUEUE, BMC_QUEUE, LICENCE_QUEUE)
"""What one consumes that starts while its own platform is abnormal: requests are refused, lists are released; licences
and domains stay up, so that service resumes at once (RMS owes it nothing yet)."""

OWN_TOPOLOGY = Topology(
    exchanges=tuple(dict.fromkeys([binding.exchange for binding in _CONSUMED] + [ex for ex, _ in _PUBLISHED_TO])),
    queues=tuple(Queue(name) for name in (*WORK_QUEUES, PARK_QUEUE)),
    bindings=_CONSUMED,
)
"""Declared on the own platform's broker."""

PEER_TOPOLOGY = Topology(exchanges=(TO_PEER_CSS[0], TO_CM_REQUEST[0], TO_CM_NOTICE[0]))
"""Declared on another platform's broker: only what is published to there."""


def mcu_host_queue(ip: str) -> str:
    """Queue of an MCU host: create and restore requests."""
    return f"cmu.conf.q:{ip}"


def mcu_queue(ip: str, pid: str) -> str:
    """Queue of one MCU process."""
    return f"cmu.conf.q:{ip}:{pid}"


PLATFORM_REPLY_QUEUE = "MAU.RPCPLATINFO.Q"
"""The seed's queue of the PMS's answers, shared by all instances."""
PLATFORM_BROADCASTS = ("monitor.notify.ex", ("monitor.server_room.k", "monitor.plamform.k"))
"""Exchange and routing keys (the seed's spelling) of what the PMS tells everybody."""


def pms_queue(own: str) -> str:
    """Where the PMS of a platform takes requests."""
    return f"monitor.req.q:{own}"


def platform_reply_queue(instance: str) -> str:
    """An instance's own queue of the PMS's answers."""
    return f"{PLATFORM_REPLY_QUEUE}:{instance}"


def broadcast_queue(instance: str) -> str:
    """An instance's own queue of the PMS's broadcasts."""
    return f"MAU.MONITOR.Q:{instance}"


def pms_topology(instance: str) -> Topology:
    """Declared on the own platform's broker: where the PMS is heard."""
    exchange, keys = PLATFORM_BROADCASTS
    broadcasts = broadcast_queue(instance)
    return Topology(
        exchanges=(exchange,),
        queues=(
            Queue(PLATFORM_REPLY_QUEUE),
            Queue(platform_reply_queue(instance), exclusive=True),
            Queue(broadcasts, exclusive=True),
        ),
        bindings=tuple(Binding(broadcasts, exchange, key) for key in keys),
    )
