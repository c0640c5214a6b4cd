"""The hospital's agent: receive, infer, deliver, measure; let only window statistics leave."""

AGENT_VERSION = "0.1.0"
