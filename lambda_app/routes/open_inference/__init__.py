"""Open Inference Protocol (V2 of KServe and Triton)."""
