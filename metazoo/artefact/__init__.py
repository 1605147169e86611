"""What training and serving exchange: signatures, version directories, spaces as metadata, recorded episodes, names
and history of adapted policies."""
