"""From answers to graded outcomes: graders by rule, code run against tests, judges, and how they combine."""
