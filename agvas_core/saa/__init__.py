"""SAA and SAA+: candidates of any proposer, regularised by hybrid prompts (Segment Any Anomaly, Cao et al. 2023)."""
