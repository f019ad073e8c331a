"""What builds the packages. `payload` says which files each of them has, `source` which sources it is made of."""
