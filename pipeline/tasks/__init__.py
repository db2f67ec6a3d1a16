"""One file per task: its wording, its output form, its parser, its plan."""
