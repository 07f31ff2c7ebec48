"""The mark that keeps a user's text from becoming control tokens."""

GUARD = "\ufdd0"
