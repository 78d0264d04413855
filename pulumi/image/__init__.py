"""The container image: what goes in, at which versions, and how it is built."""
