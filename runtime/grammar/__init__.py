"""Output that fits a grammar: JSON, a JSON schema, a regular expression or a Lark grammar.

The grammars' own work, which tokens may come next, is done by llguidance; ``Compiler`` makes its tokenizer from ours,
``Matcher`` is one sequence's place in a grammar. ``GrammarChecker`` tries a grammar where that can be killed, before
anything else sees it. Nothing is imported here: the server must not import torch.
"""
