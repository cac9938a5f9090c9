"""A checkpoint to the released model: convert, quantize, verify, release; one module a stage."""
