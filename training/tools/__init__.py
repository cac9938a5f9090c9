"""Commands around training: label audit, attempts and the input benchmark."""
