"""Programs that build the documentation: generated pages, mathematics without scripts, blocks that run."""
