"""The computed part of the build: folders mapped below one import package. The rest is in pyproject.toml."""

from setuptools import find_packages, setup

LAYERS = ("kernels", "runtime", "api")

package_dir = {"gristmill": "package", **{f"gristmill.{layer}": layer for layer in LAYERS}}
packages = [*package_dir, *(f"gristmill.{layer}.{sub}" for layer in LAYERS for sub in find_packages(layer))]

setup(packages=packages, package_dir=package_dir)
