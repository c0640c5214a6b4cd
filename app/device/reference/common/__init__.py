"""What the reference devices share: a device is a declaration, the recipe is one."""
