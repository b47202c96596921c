"""Your own engine: what it is asked for, what is wrong with it, and the files to write it in."""
