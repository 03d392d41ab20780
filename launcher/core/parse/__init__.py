"""The only doors from JSON and YAML to types; past them nothing is a raw document any more."""
