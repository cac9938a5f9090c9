"""A checkpoint to the released model: convert, verify, release; one module a stage."""
