"""Mail: plain words, text and HTML, nothing fetched from anywhere, no patient data."""
