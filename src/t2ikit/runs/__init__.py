"""Run folders: recipe.toml, run.json, log.jsonl, samples/, checkpoints/."""
