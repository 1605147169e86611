"""Models of dynamics as supervised families: what follows a transition, in a world whose physics are hidden."""
