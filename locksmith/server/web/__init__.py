"""The web page of `locksmith-server`: what a fleet does, and the orders of signed-in operators."""
