"""Turn a checkpoint into the released model: convert, quantize, verify and release, one module per DVC stage."""
