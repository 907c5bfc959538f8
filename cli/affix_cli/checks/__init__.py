"""`affix check`: everything that the service depends on, tried before it is needed."""
