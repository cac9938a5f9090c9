"""The Open Inference Protocol (KServe's and Triton's V2) beside the native routes."""
