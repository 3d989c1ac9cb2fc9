"""Tests of `css.npp`."""
