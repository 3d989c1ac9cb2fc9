"""Tests of `css/ctl/`."""
