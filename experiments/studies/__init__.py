"""Small studies: each is a module that prints what it found."""
