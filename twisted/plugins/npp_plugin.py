"""Tells `twistd` that there is a service called `npp`."""

from twisted.application.service import ServiceMaker

npp = ServiceMaker("NPP", "css.npp.tap", "Tells over HTTP which conferences run.", "npp")
