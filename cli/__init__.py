"""The commands, one module each; heavy libraries are imported inside the functions that need them."""
