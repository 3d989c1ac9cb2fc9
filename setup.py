"""Packaging: what `pyproject.toml` can't say.

`twisted.plugins` is no package of ours (it has no `__init__.py`), yet our plugin file has to be installed in it. The
explicit `package_dir` makes an editable install a plain path entry, so that Twisted finds the plugin there too.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["css", "css.*"]), "twisted.plugins"],
    package_dir={"": "."},
    package_data={"css": ["**/*.lua", "**/*.xml", "**/*.json", "**/*.toml", "**/*.html", "**/*.css", "**/*.js"]},
)
