"""Pure decisions: facts and a clock reading go in, effects come out. Nothing here does I/O."""
