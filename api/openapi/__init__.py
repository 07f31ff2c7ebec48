"""The service's own description, ``GET /openapi.json``, made from the types that requests are checked with.

A new endpoint gets a row in ``operations``, a new kind of answer a Struct in ``answers``. A test holds the table
against the server's routes, another one the answers against these types.
"""
