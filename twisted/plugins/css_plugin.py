"""Tells `twistd` that there is a service called `css`."""

from twisted.application.service import ServiceMaker

css = ServiceMaker("CSS", "css.tap", "Schedules video conferences on MCUs.", "css")
