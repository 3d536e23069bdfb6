"""ALFWorld's household tasks: the games on disk (`games`), what an engine is (`engine`), and `AlfWorld-v0` (`env`)."""
