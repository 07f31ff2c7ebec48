"""Pictures from bytes to pixels of the sizes that a model wants. Knows no models; nothing here imports torch.

``decode`` does the work with Pillow, in the process of ``worker``, which may be killed; ``decoder`` is the side that
asks.
"""
