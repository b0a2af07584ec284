"""Where captioned images come from: folders, tables, Hub datasets and tar shards."""
