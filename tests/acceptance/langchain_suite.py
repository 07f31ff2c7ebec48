"""LangChain's standard tests of chat models and embeddings, on ``langchain-ollama``, against the server at SERVER_URL.

``test_langchain`` runs this in a process of its own: the clients leave connections open.
"""

import os

import langchain_ollama
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

MODEL = {"model": "scripted", "base_url": os.environ["SERVER_URL"]}


class TestChatOllama(ChatModelIntegrationTests):
    @property
    def chat_model_class(self):
        return langchain_ollama.ChatOllama

    @property
    def chat_model_params(self):
        return {**MODEL, "reasoning": False}

    @property
    def supports_json_mode(self):
        return True

    @property
    def has_tool_choice(self):
        return False  # the client does not send it


class TestOllamaEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self):
        return langchain_ollama.OllamaEmbeddings

    @property
    def embedding_model_params(self):
        return MODEL
