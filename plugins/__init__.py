"""Built-in plugins: they use the same door as everybody's."""
