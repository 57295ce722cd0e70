"""Language models: one protocol, and the backends behind it. The only place that imports openai and litellm."""
