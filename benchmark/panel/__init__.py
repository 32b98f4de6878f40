"""What a metric is, what it is given, and what the metrics of `benchmark.metrics` are made of."""
