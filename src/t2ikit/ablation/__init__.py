"""Ablations: paired training runs with and without a loss or a setting, and what their difference is."""
