"""Several sources as one dataset, shown as often as their weights say."""
