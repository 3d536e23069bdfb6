"""CommonsenseReason-v0: multiple choice, with the chain of thought written before the answer."""
