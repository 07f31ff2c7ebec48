"""OpenAI's API: pure translation to native requests, and from native lines."""
