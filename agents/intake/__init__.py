"""From what clients send to rows on topics: reading, verdicts, personal data, publishing and the spill."""
