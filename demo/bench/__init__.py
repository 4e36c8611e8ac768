"""hearth side by side with what an operator would use instead; see docs/benchmarks.md."""
