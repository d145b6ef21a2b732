"""A Procfile for other supervisors: one file per target format, honcho's exporters put right."""
