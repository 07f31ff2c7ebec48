"""Models from and to registries: the OCI distribution protocol, as Ollama's registry and others speak it.

    transfers    what one server's pulls and pushes share
    pull, push   one model's way, as lines of progress
    download, upload, partial, verify        one blob's way
    client, transport, tokens, challenge     requests: redirects, credentials, faults

Knows no web framework of the server's side and no command line.
"""
