"""Commands around training: suspicious labels, attempts and the input benchmark."""
