"""HTTP bytes in, HTTP bytes out: server, store, model manager, command line. Knows no tensors."""
