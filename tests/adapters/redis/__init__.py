"""Tests of `css.adapters.redis`."""
