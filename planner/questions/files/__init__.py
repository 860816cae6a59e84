"""Servers that lie in files: which files of a folder are read, for which machine each is, what stands where, what is said of all together."""
