"""Charts: one specification (`spec`), three renderings (`svg`, `plotly`, `table`). Pure."""
