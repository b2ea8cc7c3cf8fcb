"""What the documentation is built with: generated pages, mathematics without scripts, blocks that run."""
