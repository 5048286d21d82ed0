"""`chaintune index`: documents into a library, only what changed."""
