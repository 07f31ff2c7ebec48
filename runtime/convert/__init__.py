"""Other files into GGUF files: folders of safetensors, parts of a split file, adapters.

``worker`` is the process that a server has this done in, for it takes long and imports torch; ``jobs`` is what it is
asked. Models are written by ``runtime.quantize``, adapters by ``adapter``.
"""
