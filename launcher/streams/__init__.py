"""What processes write, on its way from their pipes to our streams and to the log, byte for byte."""
