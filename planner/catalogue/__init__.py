"""From a name, a folder, a Hub id or a file to a model and a GPU."""
