"""The model gateway: the only way to a model. `service.generate` is the way in; `functions/llm` hosts it."""
