"""From a log, as a tool exports it, to a history without scores: the command `import`."""
