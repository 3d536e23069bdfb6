"""MathReason-v0: an action is one step of reasoning."""
