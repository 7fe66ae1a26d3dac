"""Parts of the benchmark of ingestion."""
