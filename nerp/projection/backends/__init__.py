"""One implementation per way of computing; every one gives the same numbers."""
