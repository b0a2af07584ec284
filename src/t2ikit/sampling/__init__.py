"""From prompts to images: open a run, sample it, write what came of it."""
