"""Training and evaluation on several machines, on Ray Core (extra ``ray``)."""
