"""Classical algorithms for bandits and tabular MDPs: what RL² (Duan et al. 2016, arXiv 1611.02779) is compared with."""
