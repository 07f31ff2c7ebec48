"""Names that are no field of ``Settings``: what others read from the environment, and what has no effect, and why.

Ollama's users have them in their unit files and shells. None is ignored in silence: ``gristmill config`` lists them.
"""

from __future__ import annotations

from .setting import PATH, TEXT, Setting

__all__ = ["CONFIG", "ELSEWHERE"]

CONFIG = Setting("GRISTMILL_CONFIG", PATH, "~/.config/gristmill/config.toml", "The file of settings")

_NO_GPU = "this version computes on the CPU"
_NO_CLOUD = "there is no cloud here"
_NOTHING = "Ollama has given it up, too"

_EXPORTED = (
    Setting("GRISTMILL_CPU_LEVEL", TEXT, "", "Instruction set of the native kernels", exported=True),
    Setting("OLLAMA_EDITOR", TEXT, "", "Editor for Ctrl+G, else VISUAL, EDITOR or vi", client=True, exported=True),
    Setting("HTTP_PROXY", TEXT, "", "Proxy for downloads", exported=True, secret=True),
    Setting("HTTPS_PROXY", TEXT, "", "Proxy for downloads over HTTPS", exported=True, secret=True),
    Setting("NO_PROXY", TEXT, "", "Hosts that are reached without a proxy", exported=True),
)
_WITHOUT_EFFECT = (
    ("OLLAMA_FLASH_ATTENTION", "Attention in blocks", "attention is always computed in blocks"),
    ("OLLAMA_GPU_OVERHEAD", "Memory kept free on each GPU", _NO_GPU),
    ("OLLAMA_SCHED_SPREAD", "Spread models over all GPUs", _NO_GPU),
    ("OLLAMA_LLM_LIBRARY", "Library that computes", "use GRISTMILL_BACKEND and GRISTMILL_CPU_LEVEL"),
    ("OLLAMA_IGPU_ENABLE", "Use integrated GPUs", _NO_GPU),
    ("OLLAMA_VULKAN", "Use Vulkan", _NO_GPU),
    ("OLLAMA_DEBUG_LOG_REQUESTS", "Keep the bodies of requests", "bodies of requests are never written to disk"),
    ("OLLAMA_MAX_TRANSFER_STREAMS", "Streams of one transfer", "it is for the models of Ollama's MLX engine"),
    ("OLLAMA_NO_CLOUD", "Switch the cloud off", _NO_CLOUD),
    ("OLLAMA_REMOTES", "Hosts of remote models", _NO_CLOUD),
    ("OLLAMA_AUTH", "Sign the client's requests", "use GRISTMILL_API_KEYS and GRISTMILL_API_KEY"),
    ("OLLAMA_CLOUD_BASE_URL", "Address of the cloud", _NO_CLOUD),
    ("OLLAMA_EXPERIMENT", "Experiments", "there are none"),
    ("LLAMA_ARG_FIT", "Fit models into memory", "they are always fitted: fewer contexts where there is less room"),
    ("LLAMA_ARG_FIT_TARGET", "Memory that fitting leaves free", "memory is counted before a load"),
    ("CUDA_VISIBLE_DEVICES", "Which GPUs to use", _NO_GPU),
    ("HIP_VISIBLE_DEVICES", "Which GPUs to use", _NO_GPU),
    ("ROCR_VISIBLE_DEVICES", "Which GPUs to use", _NO_GPU),
    ("GPU_DEVICE_ORDINAL", "Which GPUs to use", _NO_GPU),
    ("GGML_VK_VISIBLE_DEVICES", "Which GPUs to use", _NO_GPU),
    ("HSA_OVERRIDE_GFX_VERSION", "Which GPU to pretend", _NO_GPU),
    ("OLLAMA_MULTIUSER_CACHE", "Cache for several users", _NOTHING),
    ("OLLAMA_NEW_ENGINE", "Use the new engine", _NOTHING),
    ("OLLAMA_MAX_VRAM", "Memory to use on GPUs", _NOTHING),
    ("OLLAMA_TMPDIR", "Folder for temporary files", _NOTHING),
    ("OLLAMA_RUNNERS_DIR", "Folder of runners", _NOTHING),
    ("OLLAMA_INTEL_GPU", "Use Intel's GPUs", _NOTHING),
)
ELSEWHERE = (
    CONFIG,
    *_EXPORTED,
    *(Setting(name, TEXT, "", meaning, no_effect=reason) for name, meaning, reason in _WITHOUT_EFFECT),
)
