"""Work that runs where it can be killed: a process of our own, with limits of time and memory.

``host`` is the side that asks, ``inside`` and ``frames`` the side that answers. Knows nothing of the work.
"""
