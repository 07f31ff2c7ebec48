"""Families of prompt formats: Ollama's names and stop strings, each with its format as a short Go template.

Written from the formats that the families publish. A name comes twice where its releases differ. Tools and thinking
are not in them: the Jinja template of a model that knows those makes other prompts, or is preferred for them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """``template`` is a Go template; ``stop`` are the strings that end an answer."""

    name: str
    stop: tuple[str, ...]
    template: str


def _labelled(system: str, user: str, assistant: str, end: str, cue: str | None = None) -> str:
    """Every message after the label of its role and before ``end``; then ``cue``, or the assistant's label."""
    message = f"{{{{ .Content }}}}{end}"
    return (
        f'{{{{ range .Messages }}}}{{{{ if eq .Role "system" }}}}{system}{message}'
        f'{{{{ else if eq .Role "user" }}}}{user}{message}'
        f'{{{{ else if eq .Role "assistant" }}}}{assistant}{message}{{{{ end }}}}{{{{ end }}}}'
        f"{assistant if cue is None else cue}"
    )


def _system_in_first(user: str, system: tuple[str, str], end: str, assistant: str, answered: str, cue: str) -> str:
    """The system text, between the two of ``system``, is part of the first question."""
    return (
        '{{ range $i, $_ := .Messages }}{{ if eq .Role "user" }}'
        f"{user}{{{{ if and $.System (le $i 1) }}}}{system[0]}{{{{ $.System }}}}{system[1]}{{{{ end }}}}"
        f'{{{{ .Content }}}}{end}{{{{ else if eq .Role "assistant" }}}}{assistant}{{{{ .Content }}}}{answered}'
        f"{{{{ end }}}}{{{{ end }}}}{cue}"
    )


def _gemma(between: str) -> str:
    """``between`` stands after the system text."""
    turn, end = "<start_of_turn>", "<end_of_turn>\n"
    return _system_in_first(f"{turn}user\n", ("", between), end, f"{turn}model\n", end, f"{turn}model\n")


_ROLE_NAMES = "{{ range .Messages }}%s{{ .Role }}%s{{ .Content }}%s{{ end }}%sassistant%s"

_CHATML = _ROLE_NAMES % ("<|im_start|>", "\n", "<|im_end|>\n", "<|im_start|>", "\n")

_LLAMA_3 = _ROLE_NAMES % (
    *("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
    *("<|start_header_id|>", "<|end_header_id|>\n\n"),
)

_LLAMA_2 = _system_in_first("<s>[INST] ", ("<<SYS>>\n", "\n<</SYS>>\n\n"), " [/INST]", " ", " </s>", "")

_MISTRAL_1 = _system_in_first("[INST] ", ("", "\n\n"), " [/INST]", "", "</s> ", "")
_MISTRAL_2 = _system_in_first("[INST] ", ("", "\n\n"), " [/INST]", "", "</s>", "")
_MISTRAL_2_SPACED = _system_in_first(" [INST] ", ("", "\n\n"), " [/INST]", " ", "</s>", "")
# From the third on the system text is part of the last question.
_MISTRAL_3 = (
    '{{ range $i, $_ := .Messages }}{{ if eq .Role "user" }}[INST] '
    "{{ if and $.System (eq (len (slice $.Messages $i)) 1) }}{{ $.System }}\n\n{{ end }}{{ .Content }}[/INST]"
    '{{ else if eq .Role "assistant" }} {{ .Content }}</s>{{ end }}{{ end }}'
)

# One paragraph, or a line for each message.
_VICUNA = (
    '{{ range .Messages }}{{ if eq .Role "system" }}{{ .Content }} {{ else if eq .Role "user" }}USER: {{ .Content }} '
    '{{ else if eq .Role "assistant" }}ASSISTANT: {{ .Content }}</s>{{ end }}{{ end }}ASSISTANT:'
)
_VICUNA_LINES = (
    '{{ range .Messages }}{{ if eq .Role "system" }}{{ .Content }}\n\n{{ else if eq .Role "user" }}'
    'USER: {{ .Content }}\n{{ else if eq .Role "assistant" }}ASSISTANT: {{ .Content }}</s>\n{{ end }}{{ end }}'
    "ASSISTANT:"
)

_STARCODER_2 = (
    '{{ range .Messages }}{{ if eq .Role "system" }}{{ .Content }}\n\n'
    '{{ else if eq .Role "user" }}### Instruction\n{{ .Content }}\n\n'
    '{{ else if eq .Role "assistant" }}### Response\n{{ .Content }}<|endoftext|>\n\n{{ end }}{{ end }}### Response\n'
)

# Nothing stands after an answer.
_SOLAR = (
    '{{ range .Messages }}{{ if eq .Role "system" }}### System:\n{{ .Content }}\n\n'
    '{{ else if eq .Role "user" }}### User:\n{{ .Content }}\n\n'
    '{{ else if eq .Role "assistant" }}### Assistant:\n{{ .Content }}{{ end }}{{ end }}### Assistant:\n'
)

_COMMAND_R = _labelled(
    "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>",
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
)

_CODELLAMA = _labelled(
    "Source: system\n\n ",
    "Source: user\n\n ",
    "Source: assistant\n\n ",
    " <step> ",
    "Source: assistant\nDestination: user\n\n ",
)

_OPENCHAT = _labelled(
    "GPT4 Correct System: ",
    "GPT4 Correct User: ",
    "GPT4 Correct Assistant: ",
    "<|end_of_turn|>",
    "GPT4 Correct Assistant:",
)

_PHI_STOP = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
_MISTRAL_STOP = ("<|im_start|>", "<|im_end|>")

FAMILIES: tuple[Family, ...] = (
    Family("chatml", ("<|im_start|>", "<|im_end|>"), _CHATML),
    Family("llama3-instruct", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), _LLAMA_3),
    Family("llama2-chat", ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"), _LLAMA_2),
    Family("mistral-instruct", _MISTRAL_STOP, _MISTRAL_1),
    Family("mistral-instruct", _MISTRAL_STOP, _MISTRAL_2),
    Family("mistral-instruct", _MISTRAL_STOP, _MISTRAL_2_SPACED),
    Family("mistral-instruct", _MISTRAL_STOP, _MISTRAL_3),
    Family("gemma-instruct", ("<start_of_turn>", "<end_of_turn>"), _gemma(" ")),
    Family("gemma3-instruct", ("<end_of_turn>",), _gemma("\n\n")),
    Family("phi-3", _PHI_STOP, _labelled("<|system|>\n", "<|user|>\n", "<|assistant|>\n", "<|end|>\n")),
    Family(
        "zephyr",
        ("<|system|>", "</s>", "<|user|>", "<|assistant|>"),
        _labelled("<|system|>\n", "<|user|>\n", "<|assistant|>\n", "</s>\n"),
    ),
    Family("vicuna", ("USER:", "ASSISTANT:"), _VICUNA),
    Family("vicuna", ("USER:", "ASSISTANT:"), _VICUNA_LINES),
    Family("openchat", ("<|end_of_turn|>",), _OPENCHAT),
    Family("command-r", ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"), _COMMAND_R),
    Family(
        "alpaca", ("### Instruction:", "### Response"), _labelled("", "### Instruction:\n", "### Response:\n", "\n\n")
    ),
    Family(
        "solar-instruct",
        ("### System:", "### User:", "### Assistant"),
        _SOLAR,
    ),
    Family(
        "granite-instruct",
        ("System:", "Question:", "Answer:"),
        _labelled("System:\n", "Question:\n", "Answer:\n", "\n\n"),
    ),
    Family(
        "chatqa",
        ("System:", "User:", "Assistant:", "<|begin_of_text|>"),
        _labelled("System: ", "User: ", "Assistant: ", "\n\n", "Assistant:"),
    ),
    Family(
        "falcon-instruct",
        ("User:", "Assistant:"),
        _labelled("System: ", "User: ", "Falcon: ", "\n", "Falcon:"),
    ),
    Family(
        "magicoder",
        ("@@ Instruction", "@@ Response"),
        _labelled("", "@@ Instruction\n", "@@ Response\n", "\n\n"),
    ),
    Family("starcoder2-instruct", ("### Instruction", "### Response", "<|endoftext|>"), _STARCODER_2),
    Family("codellama-70b-instruct", ("Source:", "Destination:", "<step>"), _CODELLAMA),
    Family(
        "alfred",
        ("<start_system>", "<end_message>", "<start_user>", "<start_assistant>"),
        _labelled("<start_system>", "<start_user>", "<start_assistant>", "<end_message>"),
    ),
)
