"""The guide typed as a script against the stack."""
