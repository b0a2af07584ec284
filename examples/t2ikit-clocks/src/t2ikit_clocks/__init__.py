"""Clock faces whose captions tell the time, for t2ikit."""
