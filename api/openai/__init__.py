"""OpenAI's API as translation: a request becomes a native one, native lines become OpenAI's objects and events.

Each endpoint is a file that knows no HTTP; ``handlers`` ties them to the routes. See docs/openai.md.
"""
