"""Everything a person looks at: charts, pages, reports, mail."""
