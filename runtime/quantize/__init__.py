"""Quantizing whole models: which tensor gets which format, importance matrices, and the file that comes out."""
