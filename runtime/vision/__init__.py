"""Pictures in prompts: projector files, vision towers, and rows that stand in place of token embeddings."""
