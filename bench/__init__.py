"""How fast Affix is, measured beside what limits it and beside what would be written without it (`make bench`)."""
