"""Job specifications: their form, what ties them to the code, and what real agents make of them."""
