"""lockwatch: post-market drift surveillance for locked medical-imaging AI."""
