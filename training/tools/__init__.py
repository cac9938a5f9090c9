"""Commands around training: label audit, baselines, attempts and the input benchmark."""
