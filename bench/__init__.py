"""Benchmarks: each measures us and a peer in interleaved pairs on the same host."""
