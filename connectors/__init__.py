"""One protocol, one file: each connector turns a source's bytes into columnar readings."""
