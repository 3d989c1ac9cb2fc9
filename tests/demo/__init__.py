"""Tests of the parts of `css.demo`."""
