"""The area *Admin*: edges and their enrolment, people, who is told; and one's own account."""
