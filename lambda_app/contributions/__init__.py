"""Store photos that clients contribute to training, with consent. Imported only if `CONTRIBUTIONS` is set."""
