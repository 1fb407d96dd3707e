"""Usage by tenant and by stage, kept by Faust from committed records; nothing else here or elsewhere loads Faust."""
