"""Tests of `css/web/`."""
