"""How tests run: property tests without a deadline, for machines are slow at times, and in CI with the same cases.

PyTorch's threads sleep while they wait for each other. Spinning, they would hold up those that they wait for, wherever
something else is running: a tiny model then takes seconds for a step.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
