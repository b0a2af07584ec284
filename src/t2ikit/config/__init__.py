"""Config classes: TOML and settings in, checks whose errors name file and key, and help out of them."""
