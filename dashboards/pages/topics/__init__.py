"""One question about a device version at a time: each opens with a sentence, and is an address."""
