"""The Click commands: options in, one library call, report out. The environment is read here and nowhere else."""
