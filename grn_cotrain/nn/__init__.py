"""Neural building blocks: gene embedding, message passing, packed attention, encoders, couplings, decoders."""
