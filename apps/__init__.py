"""What a person touches: the command line, the chat page, the demo and the samples. They compose chains, retrieval and tuning."""
