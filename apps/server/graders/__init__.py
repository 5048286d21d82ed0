"""OpenAI's graders: what a sample is worth. `shapes` says what one is, `grade` runs it, each kind beside it in a file of its own."""
