"""The seams of CSS: what the handlers need from the outside, as zope interfaces."""
